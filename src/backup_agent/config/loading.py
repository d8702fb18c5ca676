"""How a configuration is read: one TOML file, overridden by the environment, into one frozen model. Knows no key.

Unknown and invalid keys are fatal, named by their full path.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from backup_agent.config.suggesting import suggestions
from backup_agent.domain.validation import explain
from backup_agent.errors import ConfigError, ErrorCode


class FileSettings(BaseSettings):
    """The whole file. A subclass sets `env_prefix` and the like."""

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


Settings = TypeVar("Settings", bound=FileSettings)


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets one program's configuration apart from another's."""

    prefix: str
    """Of its variables in the environment."""
    file_variable: str
    """Names the file, so it is no key of it."""
    example: str
    """A file to begin with."""
    example_key: str
    """As the environment names it, without the prefix."""
    reference: str
    """The page that lists every key."""


def load(model: type[Settings], path: Path, kind: Kind) -> Settings:
    """Raises ConfigError (`config_invalid`) naming the file and every key that is wrong."""
    _check_environment(model, kind)
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"can't read the configuration {path}: {error.strerror}",
            f"Copy {kind.example} there, or name another file with --config.",
        ) from error
    except ValueError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID, f"{path} is not valid TOML: {error}", "Mend the file at the place named."
        ) from error
    try:
        return model(**_file_keys(content))
    except SettingsError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"a {kind.prefix} variable of the environment can't be used: {error}",
            f"Name single keys, such as {kind.prefix}{kind.example_key}; write lists as JSON.",
        ) from None  # the error behind it shows the value
    except ValidationError as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"{path} is not a valid configuration: {explain(error, 'the file')}",
            " ".join([*suggestions(model, error), f"{kind.example} and {kind.reference} explain every key."]),
        ) from error


def _check_environment(model: type[FileSettings], kind: Kind) -> None:
    """A misspelt section would be ignored by the settings library, which looks up only the names it knows."""
    sections = {name.upper() for name in model.model_fields}
    for name in os.environ:
        section = name.removeprefix(kind.prefix).partition("__")[0].upper()
        if name.startswith(kind.prefix) and name != kind.file_variable and section not in sections:
            raise ConfigError(
                ErrorCode.CONFIG_INVALID,
                f"the environment variable {name} names no section of the configuration",
                f"It must be {kind.prefix}SECTION__KEY; {kind.reference} lists them.",
            )


def _file_keys(content: dict[str, Any]) -> dict[str, Any]:
    """Without what pydantic-settings would take for orders to itself, such as `_env_file`, under names it refuses."""
    return {f"{key}?" if key.startswith("_") else key: value for key, value in content.items()}


def read_secret(value: SecretStr | None, file: Path | None, name: str, *, reader: str = "agent") -> str | None:
    """The secret, given as it is or in a file. For the error: `name` is the key of the latter, `reader` who reads it.

    Raises ConfigError (`config_invalid`).
    """
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
            f"Make the file readable by the {reader}'s user, as UTF-8 text.",
        ) from error
