"""The section `[broker]` as the broker's connections want it."""

from __future__ import annotations

from backup_agent.broker.connection import check_settings
from backup_agent.broker.settings import BrokerSettings
from backup_agent.config.loading import read_secret
from backup_agent.config.serving import BrokerConfig
from backup_agent.errors import ConfigError, ErrorCode


def broker_settings(broker: BrokerConfig, *, without: str, hint: str, reader: str) -> BrokerSettings:
    """`without` says what can't be done without a broker, `hint` what to do then, `reader` who reads the password.

    Raises ConfigError (`config_invalid`), also for certificates that can't be used.
    """
    if not broker.urls:
        raise ConfigError(ErrorCode.CONFIG_INVALID, f"broker.urls is empty: {without}", hint)
    settings = BrokerSettings(
        urls=broker.urls,
        user=broker.user,
        password=read_secret(broker.password, broker.password_file, "broker.password_file", reader=reader),
        ca_file=broker.ca_file,
        cert_file=broker.cert_file,
        key_file=broker.key_file,
        declare=broker.declare,
        heartbeat=broker.heartbeat_s,
        connect_timeout=broker.connect_timeout_s,
        blocked_timeout=broker.blocked_timeout_s,
        reconnect_max=broker.reconnect_max_s,
        dead_letter_limit=broker.dead_letter_limit,
    )
    check_settings(settings)
    return settings
