"""The catalogue: the database of instances and backups, and the commands that wait to be sent. SQLAlchemy Core."""
