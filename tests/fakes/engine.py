"""An engine that misbehaves, started as the real one is: `engine.py VERSION BEHAVIOUR ARGUMENTS OF MARIADB-BACKUP...`.

It writes what mariadb-backup writes: a stream to standard output, its log to standard error, and the LSN and info files
into --extra-lsndir. It starts no other program, so that a kill leaves nothing of it.
"""

from __future__ import annotations

import struct
import sys
import time
import zlib
from pathlib import Path

VERSION = "mariadb-backup based on MariaDB server {} debian-linux-gnu (x86_64)"
BLOCK = bytes(range(256)) * 4096


def record(kind: bytes, path: str, tail: bytes = b"") -> bytes:
    name = path.encode()
    return b"XBSTCK01\0" + kind + struct.pack("<I", len(name)) + name + tail


def payload(path: str, offset: int, data: bytes) -> bytes:
    return record(b"P", path, struct.pack("<QQI", len(data), offset, zlib.crc32(data)) + data)


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def say(line: str) -> None:
    sys.stderr.write(f"[00] 2026-11-23 19:17:52 {line}\n")
    sys.stderr.flush()


def write_reports(lsn_dir: Path, to_lsn: int) -> None:
    lsns = f"backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = {to_lsn}\nlast_lsn = {to_lsn}\n"
    (lsn_dir / "xtrabackup_checkpoints").write_text(lsns)
    (lsn_dir / "xtrabackup_info").write_text("binlog_pos = filename 'binlog.000001', position '328'\n")


def backup(behaviour: str, lsn_dir: Path) -> int:
    say("Acquired locks for BACKUP STAGE START")
    if behaviour == "garbage":
        write(b"this is no stream of records" * 1000)
    else:
        for number in range(5):
            write(payload("ibdata1", number * len(BLOCK), BLOCK))
    if behaviour == "hangs":
        while True:
            time.sleep(60)
    write(record(b"E", "ibdata1"))
    if behaviour != "cut":
        write(payload("xtrabackup_info", 0, b"tool_name = fake\n") + record(b"E", "xtrabackup_info"))
    if behaviour != "without LSNs":
        write_reports(lsn_dir, 40000)
    if behaviour == "silent":
        say("That is all.")
    else:
        say("completed OK!")
    return 1 if behaviour == "fails after all" else 0


def main(version: str, behaviour: str, arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stderr.write(VERSION.format(version) + "\n")
        return 0
    options = dict(argument.partition("=")[::2] for argument in arguments)
    return backup(behaviour, Path(options["--extra-lsndir"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
