"""The configuration: one TOML file, parsed once into frozen values; each object gets its own section, not the whole.

Unknown and invalid keys are fatal, named by their full path. Any key can be overridden by the environment:
`BACKUP_AGENT_INSTANCE__PASSWORD` is `instance.password`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from backup_agent.config.administering import AdministrationConfig
from backup_agent.config.database import EngineConfig, InstanceConfig, LocksConfig
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
from backup_agent.domain.validation import explain
from backup_agent.errors import ConfigError, ErrorCode

DEFAULT_PATH = Path("/etc/backup-agent/backup-agent.toml")
CONFIG_FILE_VARIABLE = "BACKUP_AGENT_CONFIG_FILE"
"""Names the file, so it is no key of it."""
_PREFIX = "BACKUP_AGENT_"


class Config(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=_PREFIX, env_nested_delimiter="__", env_nested_max_split=2
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content is passed to the constructor."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


def _check_environment() -> None:
    """A misspelt section would be ignored by the settings library, which looks up only the names it knows."""
    sections = {name.upper() for name in Config.model_fields}
    for name in os.environ:
        section = name.removeprefix(_PREFIX).partition("__")[0].upper()
        if name.startswith(_PREFIX) and name != CONFIG_FILE_VARIABLE and section not in sections:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f"the environment variable {name} names no section of the configuration",
                f"It must be {_PREFIX}SECTION__KEY; docs/reference/configuration.md lists them.",
            )


def load(path: Path) -> Config:
    """Raises ConfigError naming the file and every key that is wrong."""
    _check_environment()
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't read the configuration {path}: {error.strerror}",
            "Copy config/backup-agent.toml there, or name another file with --config.",
        ) from error
    except ValueError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f"{path} is not valid TOML: {error}", "Mend the file at the place named."
        ) from error
    try:
        return Config(**_file_keys(content))
    except SettingsError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"a BACKUP_AGENT_ variable of the environment can't be used: {error}",
            "Name single keys, such as BACKUP_AGENT_INSTANCE__PASSWORD; write lists as JSON.",
        ) from None  # the error behind it shows the value
    except ValidationError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"{path} is not a valid configuration: {explain(error, 'the file')}",
            "docs/reference/configuration.md lists every key.",
        ) from error


def _file_keys(content: dict[str, Any]) -> dict[str, Any]:
    """Without what pydantic-settings would take for orders to itself, such as `_env_file`, under names it refuses."""
    return {f"{key}?" if key.startswith("_") else key: value for key, value in content.items()}


def read_password(section: InstanceConfig | BrokerConfig | AdministrationConfig, name: str) -> str | None:
    """The password, from the key or the file of the section `name`. Raises ConfigError when the file can't be read."""
    return read_secret(section.password, section.password_file, f"{name}.password_file")


def read_secret(value: SecretStr | None, file: Path | None, name: str) -> str | None:
    """The secret, given as it is or in a file; `name` is the key of the latter, for the error. Raises ConfigError."""
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text("utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't read {name} {file}: {error}",
            "Make the file readable by the agent's user, as UTF-8 text.",
        ) from error
