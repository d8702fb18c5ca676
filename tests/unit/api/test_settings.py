"""The API's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.api.settings import broker_settings, load
from backup_agent.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "api.toml"
    file.write_text(text)
    return file


def test_an_empty_file_is_a_configuration_that_only_lacks_a_broker(tmp_path: Path) -> None:
    config = load(written(tmp_path, ""))
    assert (config.http.port, config.limits.backups_per_account) == (8779, 50)
    with pytest.raises(ConfigError, match=r"broker\.urls is empty"):
        broker_settings(config.broker)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http]\nprot = 1", r"http\.prot"),
        ("[http]\nport = 70000", r"http\.port"),
        ("[nobody]", "nobody"),
        ("_env_file = 'x'", r"_env_file\?"),
        ("[auth]\nkind = 'keystone'", r"keystone\.auth_url"),
        ("[auth", "not valid TOML"),
        ("[database]\nurl = 5", r"database\.url"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, text))


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_API_DATABASE__URL", "sqlite:////elsewhere")
    config = load(written(tmp_path, "[database]\nurl = 'sqlite:////here'"))
    assert config.database.url.get_secret_value() == "sqlite:////elsewhere"
    monkeypatch.setenv("BACKUP_API_DATABSE__URL", "x")
    with pytest.raises(ConfigError, match="BACKUP_API_DATABSE__URL"):
        load(written(tmp_path, ""))


def test_no_secret_is_shown(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[database]\nurl = 'postgresql://a:s3cret@h/d'\n[keystone]\npassword = 's3cret'"))
    assert "s3cret" not in repr(config)
