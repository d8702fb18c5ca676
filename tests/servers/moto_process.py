"""The process of a private S3 server. Prints its port when it is ready, and ends when its standard input does."""

from __future__ import annotations

import logging
import sys

from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

ACCOUNT = "123456789012"  # moto's only one


def serve(crowd_bucket: str, crowd_keys: list[str]) -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = s3_backends[ACCOUNT]["aws"]
    backend.create_bucket(crowd_bucket, "us-east-1")
    for key in crowd_keys:
        backend.put_object(crowd_bucket, key, b"x")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    bucket, key_format, count = sys.argv[1:]
    serve(bucket, [key_format.format(number) for number in range(int(count))])
