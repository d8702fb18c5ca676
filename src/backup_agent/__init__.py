"""Backups of MariaDB and MySQL instances: full and incremental, streamed to a store, restorable and proven so."""
