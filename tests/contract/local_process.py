"""Puts into a directory store from a process that can be limited, demoted or killed. Reports on standard output.

Usage: local_process.py ROLE DIRECTORY, with the role `once`, `limited`, `nobody` or `endless`.
"""

from __future__ import annotations

import os
import resource
import sys
from itertools import count
from pathlib import Path

from backup_agent.errors import StoreError
from backup_agent.storage.local import LocalStore

MIB = 1 << 20
KEY = "box/instance/backup/chunk-{:08d}"
NOBODY = 65534


def body_of(number: int) -> bytes:
    return f"{number:016d}".encode() * (2 * MIB // 16)


def put_once(store: LocalStore) -> str:
    try:
        store.prepare("box")
        store.put(KEY.format(0), body_of(0))
    except StoreError as error:
        return f"{error.code} {error.message} {error.hint}"
    return "stored"


def put_endlessly(store: LocalStore) -> None:
    store.prepare("box")
    for number in count():
        store.put(KEY.format(number), body_of(number))


def main(role: str, directory: str) -> None:
    store = LocalStore(Path(directory), create=False)
    if role == "endless":
        put_endlessly(store)
    if role == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    if role == "nobody" and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    sys.stdout.write(put_once(store))


if __name__ == "__main__":
    main(*sys.argv[1:])
