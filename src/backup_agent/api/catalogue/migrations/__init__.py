"""How the tables come to be, version by version. Alembic runs `env`."""
