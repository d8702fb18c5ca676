"""The store of a configuration: what is amiss in it is told before anything is connected to."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.app.stores import store
from backup_agent.cancellation import Cancellation
from backup_agent.config.file import load
from backup_agent.errors import ConfigError, ErrorCode

BASE = """\
[instance]
id = "44b277eb-39be-4921-be31-3d61b43651d7"
account_id = "1234"
[store]
url = "{url}"
[store.swift]
"""
LOGIN = "auth_url = 'https://keystone.example.org/v3'\nuser = 'u'\nproject = 'p'\nkey = 'k'\n"


def url_of(directory: Path, url: str, swift: str) -> str:
    path = directory / "agent.toml"
    path.write_text(BASE.format(url=url) + swift)
    return store(load(path))(Cancellation(), None).url


def test_an_account_is_the_instances_or_the_one_the_login_leads_to(tmp_path: Path) -> None:
    elsewhere = "storage_url = 'https://swift.example.org/v1/AUTH_{account_id}'\n"
    (tmp_path / "key").write_text("k\n")

    assert url_of(tmp_path, "swift://AUTH_{account_id}", LOGIN) == "swift://AUTH_1234"
    assert url_of(tmp_path, "swift://", LOGIN) == "swift://"
    assert url_of(tmp_path, "swift://", LOGIN + elsewhere) == "swift://"
    assert url_of(tmp_path, "swift://", LOGIN.replace("key = 'k'", f"key_file = '{tmp_path}/key'")) == "swift://"


@pytest.mark.parametrize(
    ("url", "swift", "words"),
    [
        ("swift://", "", "store.swift.auth_url is missing"),
        ("swift://AUTH_x", LOGIN + "storage_url = 'http://h/v1/AUTH_y'\n", "named in store.url and by store.swift"),
        ("swift://", LOGIN.replace("key =", "key_file ="), "can't read store.swift.key_file k"),
    ],
)
def test_a_login_that_lacks_or_contradicts_something_is_named(tmp_path: Path, url: str, swift: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        url_of(tmp_path, url, swift)

    assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert words in caught.value.message
    assert caught.value.hint
