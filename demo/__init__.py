"""The newcomer's first minute: a private MariaDB is backed up, destroyed and restored, and compared table by table."""
