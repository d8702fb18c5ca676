"""Backups of MariaDB and MySQL instances: full and incremental, streamed to a store, restorable and proven so."""

from importlib.metadata import version

__version__ = version("backup-agent")
