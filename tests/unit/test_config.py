"""The configuration file: what is wrong is named by its full path, and nothing secret is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backup_agent.config.file import load, read_password
from backup_agent.errors import ConfigError, ErrorCode

GOOD = """\
[instance]
id = "44b277eb-39be-4921-be31-3d61b43651d7"
account_id = "1234"
[store]
url = "file:///var/backups"
"""
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
EXAMPLE = Path(__file__).parents[2] / "config" / "backup-agent.toml"


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BACKUP_AGENT_")]:
        monkeypatch.delenv(name)


def written(directory: Path, text: str | bytes) -> Path:
    path = directory / "agent.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(directory: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(directory, text))
    assert caught.value.code is ErrorCode.CONFIG_INVALID
    assert caught.value.hint
    assert caught.value.exit_status == 3
    return caught.value.message


def test_few_keys_are_needed(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, GOOD))
    assert loaded.instance.account_id == "1234"
    assert loaded.store.container == "z_CLOUDDB_BACKUPS"
    assert loaded.engine.kind == "mariadb-backup"
    assert loaded.instance.nontransactional == "warn"


def test_the_example_unedited_asks_for_what_only_the_operator_knows() -> None:
    with pytest.raises(ConfigError) as caught:
        load(EXAMPLE)

    _, _, wrong = caught.value.message.partition(" is not a valid configuration: ")
    named = [part.split(":")[0] for part in wrong.split("; ")]
    assert named == ["instance.id", "instance.account_id", "store.url"]


def test_the_example_filled_in_is_valid(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for key, value in (("id", INSTANCE), ("account_id", "shop"), ("url", "file:///srv/backups")):
        text = text.replace(f'\n{key} = ""', f'\n{key} = "{value}"', 1)
    (tmp_path / "agent.toml").write_text(text)

    config = load(tmp_path / "agent.toml")

    assert (config.instance.id, config.instance.account_id, config.store.url) == (
        INSTANCE,
        "shop",
        "file:///srv/backups",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "[stream]\nchunk_size = 3\n", "stream.chunk_size: did you mean stream.chunk_mib?"),
        (GOOD + "endpoint_url = 'x'\n", "store.endpoint_url: did you mean store.s3.endpoint_url?"),
        (GOOD + "[locks]\nmax_lock_second = 3\n", "locks.max_lock_second: did you mean locks.max_lock_seconds?"),
        (GOOD + "[stor]\n", "stor: did you mean store?"),
    ],
)
def test_an_unknown_key_comes_with_the_one_that_was_meant(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "agent.toml").write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "agent.toml")

    assert words in caught.value.hint


def test_an_unknown_key_that_resembles_none_comes_without_a_guess(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(GOOD + "colour = 'blue'\n")

    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "agent.toml")

    assert "did you mean" not in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "instance: Field required; store: Field required"),
        ("instance = 1\n[store]\nurl = 'file:///x'\n", "instance: Input should be a valid dictionary"),
        (GOOD + "[stor]\n", "stor: Extra inputs are not permitted"),
        (GOOD + "[stream]\nchunk_size = 3\n", "stream.chunk_size: Extra inputs are not permitted"),
        (GOOD + "[store.s3]\nendpoint = 'x'\n", "store.s3.endpoint: Extra inputs are not permitted"),
        (GOOD + "[stream]\nthreads = 'many'\n", "stream.threads: Input should be a valid integer"),
        (GOOD + "[stream]\nthreads = 0\n", "stream.threads: Input should be greater than or equal to 1"),
        (GOOD + "[stream]\nzstd_level = 1.5\n", "stream.zstd_level: Input should be a valid integer"),
        (GOOD + "[engine]\nextra_args = '--x'\n", "engine.extra_args: Input should be a valid tuple"),
        (GOOD + "[engine]\nkind = 'mysqldump'\n", "engine.kind: Input should be 'mariadb-backup' or 'xtrabackup'"),
        (GOOD + "[log]\nlevel = 'loud'\n", "log.level: Input should be 'debug', 'info', 'warning' or 'error'"),
        (GOOD + "[store.swift]\nauth = 'v2'\n", "store.swift.auth: Input should be 'v1' or 'v3'"),
        (GOOD + "[store.swift]\nkey = 'k'\nkey_file = '/k'\n", "store.swift: give either key or key_file, not both"),
        (
            GOOD + "[store.swift]\napplication_credential_id = 'x'\nproject = 'y'\n",
            "store.swift: an application credential has its user and its project",
        ),
        (
            GOOD + "[store.swift]\napplication_credential_id = 'x'\nauth = 'v1'\n",
            "store.swift: application credentials are Keystone's",
        ),
        (GOOD.replace("44b2", "44B2"), "instance.id: must be a UUID in lower case"),
        (GOOD.replace("44b2", "../44b2"), "instance.id: must be a UUID in lower case"),
        (GOOD.replace("1234", "12/34"), "instance.account_id: String should match pattern"),
        (GOOD.replace('"1234"', '"1234\\n"'), "instance.account_id: String should match pattern"),
        (GOOD + "container = '../x'\n", "store.container: String should match pattern"),
        (GOOD + "container = '.x'\n", "store.container: String should match pattern"),
        (GOOD + "connect_timeout_s = ''\n", "store.connect_timeout_s: Input should be a valid number"),
        (GOOD + "retry_for_s = -1\n", "store.retry_for_s: Input should be greater than or equal to 0"),
        (GOOD + "retry_for_s = nan\n", "store.retry_for_s: Input should be"),
        (GOOD + "_env_file = '/etc/passwd'\n", "store._env_file: Extra inputs are not permitted"),
        ("_env_file = '/etc/passwd'\n" + GOOD, "_env_file?: Extra inputs are not permitted"),
        ("_cli_parse_args = true\n" + GOOD, "_cli_parse_args?: Extra inputs are not permitted"),
        (
            GOOD + "[stream]\nmemory_mib = 100\n",
            "stream: memory_mib must be at least (2 + threads) * chunk_mib = 128",
        ),
        (
            GOOD + "[store.s3]\naccess_key_id = 'k'\n",
            "store.s3: give both access_key_id and secret_access_key, or neither",
        ),
        (GOOD + "[store.s3]\nlock_days = 3\n", "store.s3: give both lock_mode and lock_days, or neither"),
        (GOOD + "[store.s3]\nencryption = 'AES256'\nkms_key_id = 'k'\n", "store.s3: kms_key_id and bucket_key need"),
        (GOOD + "[store.s3]\nstorage_class = 'COLD'\n", "store.s3.storage_class: Input should be 'STANDARD'"),
        (GOOD + "[store.s3]\nmetadata = { 'A b' = 'x' }\n", "store.s3.metadata"),
    ],
)
def test_what_is_wrong_is_named_by_its_full_path(tmp_path: Path, text: str, words: str) -> None:
    message = refusal(tmp_path, text)
    assert words in message
    assert str(tmp_path / "agent.toml") in message


def test_every_wrong_key_is_named_up_to_a_bound(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD + "x = 1\n[stream]\nthreads = 0\ny = 2\n")
    assert [part.partition(":")[0].split(" ")[-1] for part in message.partition("configuration: ")[2].split("; ")] == [
        "store.x",
        "stream.threads",
        "stream.y",
    ]
    long = refusal(tmp_path, GOOD + "".join(f"k{number} = 1\n" for number in range(10_000)))
    assert long.endswith("and 9990 more")
    assert len(refusal(tmp_path, GOOD + "k" * 100_000 + " = 1\n")) < 500


def test_both_passwords_are_one_too_many(tmp_path: Path) -> None:
    text = GOOD.replace("[store]", 'password = "plain-secret"\npassword_file = "/x"\n[store]')
    message = refusal(tmp_path, text)
    assert "instance: give either password or password_file, not both" in message
    assert "plain-secret" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("instance = \n", "is not valid TOML: Invalid value (at line 1, column 12)"),
        ('password = "plain-secret\n', "is not valid TOML: Illegal character"),
        (b"\xff\xfe", "is not valid TOML: 'utf-8' codec can't decode byte 0xff"),
        ("a = 1\na = 2\n", "is not valid TOML: Cannot overwrite a value"),
    ],
)
def test_what_is_no_toml_is_named_with_its_place(tmp_path: Path, text: str | bytes, words: str) -> None:
    message = refusal(tmp_path, text)
    assert words in message
    assert "plain-secret" not in message


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"can't read the configuration {tmp_path}/none: No such file or directory"):
        load(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_AGENT_INSTANCE__PASSWORD", "from-the-environment")
    monkeypatch.setenv("BACKUP_AGENT_STORE__S3__ENDPOINT_URL", "http://s3.example")
    monkeypatch.setenv("BACKUP_AGENT_STREAM__ZSTD_LEVEL", "3")
    monkeypatch.setenv("BACKUP_AGENT_ENGINE__EXTRA_ARGS", '["--one", "--two"]')
    loaded = load(written(tmp_path, GOOD.replace("[store]", 'password = "from-the-file"\n[store]')))
    assert read_password(loaded.instance, "instance") == "from-the-environment"
    assert loaded.store.url == "file:///var/backups"
    assert loaded.store.s3.endpoint_url == "http://s3.example"
    assert loaded.stream.zstd_level == 3
    assert loaded.engine.extra_args == ("--one", "--two")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BACKUP_AGENT_INSTANCE__PASWORD", "plain-secret", "instance.pasword: Extra inputs are not permitted"),
        ("BACKUP_AGENT_STREAM__THREADS", "plain-secret", "stream.threads: Input should be a valid integer"),
        ("BACKUP_AGENT_INSTANCE", "plain-secret", 'error parsing value for field "instance"'),
        ("BACKUP_AGENT_ENGINE__EXTRA_ARGS", "plain-secret", 'error parsing value for field "engine"'),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    message = refusal(tmp_path, GOOD)
    assert words in message
    assert value not in message


def password_in(directory: Path, content: bytes) -> str | None:
    file = directory / "password"
    file.write_bytes(content)
    return read_password(
        load(written(directory, GOOD.replace("[store]", f'password_file = "{file}"\n[store]'))).instance,
        "instance",
    )


def test_a_password_file_may_end_in_a_line_break(tmp_path: Path) -> None:
    assert password_in(tmp_path, b"pass word\n") == "pass word"
    assert password_in(tmp_path, b" pass word ") == " pass word "
    assert password_in(tmp_path, b"two\n\n") == "two\n"


def test_a_password_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't read instance\.password_file"):
        password_in(tmp_path, b"\xff\xfe")
    loaded = load(written(tmp_path, GOOD.replace("[store]", 'password_file = "/nowhere"\n[store]')))
    with pytest.raises(ConfigError, match=r"can't read instance\.password_file /nowhere"):
        read_password(loaded.instance, "instance")


def test_without_a_password_the_socket_decides(tmp_path: Path) -> None:
    assert read_password(load(written(tmp_path, GOOD)).instance, "instance") is None


def test_secrets_do_not_show(tmp_path: Path) -> None:
    text = GOOD.replace("[store]", 'password = "plain-secret"\n[store]')
    text += "[store.s3]\naccess_key_id = 'k'\nsecret_access_key = 'plain-secret'\n"
    text += "[store.swift]\nkey = 'plain-secret'\n"
    loaded = load(written(tmp_path, text))
    assert "plain-secret" not in f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}"


RECIPIENT = "age1jrth79al64vz0yrfp0n77cad2wkgucy9pa9hkvfg3ce8zyfjzacskp9855"
VERIFY_KEY = "MCowBQYDK2VwAyEAEL8zrCRs8dyu4i7v1tiEXGbn1h2SGtApJdvUn9HQLVc="


@pytest.mark.parametrize(
    ("recipients", "words"),
    [
        ([RECIPIENT, RECIPIENT.replace("jrth", "jtrh")], "number 2: its checksum does not fit: a typo"),
        (["ssh-ed25519 AAAA"], "number 1: it is no age recipient"),
        (["AGE-SECRET-KEY-1QQQ"], "number 1: it is a secret key"),
        ([""], "at least 1 character"),
        ([RECIPIENT, RECIPIENT], "the same recipient is given twice"),
    ],
)
def test_a_recipient_nobody_could_read_for_is_refused(tmp_path: Path, recipients: list[str], words: str) -> None:
    message = refusal(tmp_path, f"{GOOD}[encryption]\nrecipients = {recipients}\n")
    assert "encryption.recipients" in message
    assert words in message
    assert not any(recipient in message for recipient in recipients if recipient)


def test_recipients_are_taken_in_their_order(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, f'{GOOD}[encryption]\nrecipients = ["{RECIPIENT}"]\n'))
    assert [recipient.text for recipient in loaded.encryption.parsed()] == [RECIPIENT]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('verify_keys = ["AAAA"]', "signing.verify_keys: number 1: it is no Ed25519 public key"),
        (f'verify_keys = ["{VERIFY_KEY}", "?"]', "signing.verify_keys: number 2: it is not base64"),
        ("required = true", "signing: required needs verify_keys, or key_file"),
    ],
)
def test_signatures_that_nobody_could_verify_are_refused(tmp_path: Path, section: str, words: str) -> None:
    assert words in refusal(tmp_path, f"{GOOD}[signing]\n{section}\n")


def test_public_keys_are_taken(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, f'{GOOD}[signing]\nverify_keys = ["{VERIFY_KEY}"]\nrequired = true\n'))
    assert [key.text for key in loaded.signing.parsed()] == [VERIFY_KEY]
