"""The configuration: one TOML file, parsed once into frozen values; each object gets its own section, not the whole.

Unknown and invalid keys are fatal, named by their full path. Any key can be overridden by the environment:
`BACKUP_AGENT_INSTANCE__PASSWORD` is `instance.password`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from backup_agent.config import loading
from backup_agent.config.administering import AdministrationConfig
from backup_agent.config.database import EngineConfig, InstanceConfig, LocksConfig
from backup_agent.config.loading import FileSettings, Kind, read_secret
from backup_agent.config.protecting import EncryptionConfig, SigningConfig
from backup_agent.config.retaining import RetentionConfig
from backup_agent.config.serving import (
    BrokerConfig,
    GuardConfig,
    JournalConfig,
    LogConfig,
    MetricsConfig,
    ServiceConfig,
)
from backup_agent.config.storing import SpoolConfig, StoreConfig, StreamConfig
from backup_agent.config.verifying import VerifyConfig

DEFAULT_PATH = Path("/etc/backup-agent/backup-agent.toml")
CONFIG_FILE_VARIABLE = "BACKUP_AGENT_CONFIG_FILE"
_KIND = Kind(
    prefix="BACKUP_AGENT_",
    file_variable=CONFIG_FILE_VARIABLE,
    example="config/backup-agent.toml",
    example_key="INSTANCE__PASSWORD",
    reference="docs/reference/configuration.md",
)


class Config(FileSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=_KIND.prefix, env_nested_delimiter="__", env_nested_max_split=2
    )

    instance: InstanceConfig
    store: StoreConfig
    engine: EngineConfig = EngineConfig()
    stream: StreamConfig = StreamConfig()
    encryption: EncryptionConfig = EncryptionConfig()
    signing: SigningConfig = SigningConfig()
    spool: SpoolConfig = SpoolConfig()
    locks: LocksConfig = LocksConfig()
    verify: VerifyConfig = VerifyConfig()
    journal: JournalConfig = JournalConfig()
    broker: BrokerConfig = BrokerConfig()
    service: ServiceConfig = ServiceConfig()
    retention: RetentionConfig = RetentionConfig()
    metrics: MetricsConfig = MetricsConfig()
    guard: GuardConfig = GuardConfig()
    administration: AdministrationConfig = AdministrationConfig()
    log: LogConfig = LogConfig()


def load(path: Path) -> Config:
    """Raises ConfigError naming the file and every key that is wrong."""
    return loading.load(Config, path, _KIND)


def read_password(section: InstanceConfig | BrokerConfig | AdministrationConfig, name: str) -> str | None:
    """The password, from the key or the file of the section `name`. Raises ConfigError when the file can't be read."""
    return read_secret(section.password, section.password_file, f"{name}.password_file")
