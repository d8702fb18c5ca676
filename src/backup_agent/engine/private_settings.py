"""The arguments of the private server that proves a restored directory: closed to the world, small, and in a hurry.

Its data is thrown away afterwards, so nothing is made durable. It reads no option file of the host's: what the data
needs is in backup-my.cnf, which the engine wrote into the backup.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from backup_agent.errors import EngineError, ErrorCode

SOCKET = "backup-agent.sock"
"""In the data directory, by a relative name: so no path is too long for a socket's address (107 bytes)."""
_NOTES = "backup-my.cnf"
_OF_THE_DATA = frozenset(
    {
        "innodb_checksum_algorithm",
        "innodb_log_file_size",
        "innodb_page_size",
        "innodb_undo_tablespaces",
        "innodb_compression_level",
    }
)
"""What of these notes a server must be told to read the files; other lines are the engine's own business."""
_SYSTEM_TABLESPACE = "innodb_data_file_path"
_HERE = ("--innodb-data-home-dir=", "--innodb-undo-directory=./", "--innodb-log-group-home-dir=./")
"""The notes may name directories of the server that was backed up, and it may run on this very host: its files are not
to be opened. In a backup, all such files are in the data directory itself.
"""
_CLOSED = (
    "--skip-networking",
    # Nobody needs a password, and no plugin, function or event that the data names is loaded: some would reach out.
    "--skip-grant-tables",
    "--event-scheduler=DISABLED",
    "--skip-slave-start",
    "--skip-symbolic-links",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--general-log=OFF",
    "--slow-query-log=OFF",
)
_SMALL = (
    "--performance-schema=OFF",
    "--key-buffer-size=16M",
    "--aria-pagecache-buffer-size=16M",
    "--max-connections=10",
    "--table-open-cache=200",
    "--innodb-read-io-threads=2",
    "--innodb-write-io-threads=2",
    "--innodb-purge-threads=1",
    # A busy host may have no asynchronous I/O left (fs.aio-max-nr), and a sandbox may forbid it.
    "--innodb-use-native-aio=0",
)
_IN_A_HURRY = (
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    "--innodb-stats-auto-recalc=OFF",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    "--innodb-fast-shutdown=2",
)
_PLUGINS = {".ARZ": "ha_archive"}
"""By the ending of a table's file: the engine that reads it, where that is a plugin of its own."""


def arguments(datadir: Path, *, buffer_pool: int, include: Path | None, extra: Sequence[str]) -> list[str]:
    """`buffer_pool` in bytes; `include` is an option file for the key plugin of data encrypted at rest; `extra` wins.

    Raises EngineError (`extract_failed`) when the notes of the engine can't be read.
    """
    return [
        f"--defaults-file={include}" if include else "--no-defaults",
        f"--datadir={datadir}",
        f"--tmpdir={datadir}",
        f"--socket={SOCKET}",
        "--pid-file=backup-agent.pid",
        f"--innodb-buffer-pool-size={buffer_pool}",
        *_HERE,
        *_CLOSED,
        *_SMALL,
        *_IN_A_HURRY,
        *_of_the_data(datadir),
        *_plugins(datadir),
        *extra,
    ]


def _of_the_data(datadir: Path) -> Iterator[str]:
    notes = datadir / _NOTES
    try:
        lines = notes.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise EngineError(
            ErrorCode.EXTRACT_FAILED,
            f"the restored files lack {_NOTES}, or it can't be read: {error.strerror}",
            "Restore an earlier backup.",
        ) from error
    for line in lines:
        name, _, value = (part.strip() for part in line.partition("="))
        if name == _SYSTEM_TABLESPACE:
            yield f"--innodb-data-file-path={';'.join(part.rpartition('/')[2] for part in value.split(';'))}"
        elif name in _OF_THE_DATA:
            yield f"--{name.replace('_', '-')}={value}"


def _plugins(datadir: Path) -> Iterator[str]:
    endings = {Path(name).suffix for _, _, names in os.walk(datadir) for name in names}
    yield from (f"--plugin-load-add={plugin}" for ending, plugin in _PLUGINS.items() if ending in endings)
