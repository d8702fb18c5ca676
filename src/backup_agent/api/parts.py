"""What the configuration makes of the parts that several processes need: the only place that names implementations."""

from __future__ import annotations

from backup_agent.api.callers import Authenticator
from backup_agent.api.catalogue.database import Database
from backup_agent.api.keystone import KeystoneAuthenticator
from backup_agent.api.settings import ApiConfig, read_secret
from backup_agent.api.tokens import TokenAuthenticator


def open_database(config: ApiConfig) -> Database:
    """Raises ConfigError."""
    return Database(
        config.database.url.get_secret_value(),
        password=read_secret(None, config.database.password_file, "database.password_file"),
        pool_size=config.database.pool_size,
    )


def authenticator(config: ApiConfig) -> Authenticator:
    """Raises ConfigError."""
    if config.auth.kind == "keystone":
        return KeystoneAuthenticator(config.keystone)
    return TokenAuthenticator(config.auth.tokens_file)


def rates(config: ApiConfig) -> dict[str, int]:
    """Requests a minute, by verb."""
    limits = config.limits
    return {"GET": limits.get_per_minute, "POST": limits.post_per_minute, "DELETE": limits.delete_per_minute}
