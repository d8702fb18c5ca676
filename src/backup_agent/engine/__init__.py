"""The backup engines (mariadb-backup, xtrabackup): the only user of subprocess."""
