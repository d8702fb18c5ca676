"""Files of identities: taken as age-keygen writes them; whatever else is in one is not shown."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Encryption, Manifest
from backup_agent.domain.recipient import parse
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.stream.identity import fitting, read_identities
from tests.age_keys import age_key
from tests.unit.manifests import manifest_of

PLACE = BackupPlace("c", "44b277eb-39be-4921-be31-3d61b43651d7", "61f12fef-edb1-4561-8122-e7c00ef26a82")


def encrypted_for(*recipients: str) -> Manifest:
    fingerprints = tuple(parse(recipient).fingerprint for recipient in recipients)
    return manifest_of(PLACE, format=2, encryption=Encryption(scheme="age", recipients=fingerprints))


def refusal(path: Path) -> str:
    with pytest.raises(RejectedError) as caught:
        read_identities([path])
    assert caught.value.code is ErrorCode.IDENTITY_UNUSABLE
    assert caught.value.__cause__ is None
    return caught.value.message


def test_comments_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    key = age_key(tmp_path / "key")
    key.file.write_text(f"\n# a comment\n\n  {key.secret}  \r\n\n#{key.secret}\n")
    assert [one.fingerprint for one in read_identities([key.file])] == [parse(key.recipient).fingerprint]


def test_a_file_may_hold_several_and_several_files_may_be_given(tmp_path: Path) -> None:
    keys = [age_key(tmp_path / str(number)) for number in range(3)]
    keys[0].file.write_text(f"{keys[0].secret}\n{keys[1].secret}\n")
    found = read_identities([keys[0].file, keys[2].file])
    assert [one.fingerprint for one in found] == [parse(key.recipient).fingerprint for key in keys]


def test_an_identity_is_not_shown_by_mistake(tmp_path: Path) -> None:
    key = age_key(tmp_path / "key")
    (identity,) = read_identities([key.file])
    assert key.secret not in f"{identity} {identity!r}"


def test_a_damaged_identity_is_told_by_its_line_alone(tmp_path: Path) -> None:
    key = age_key(tmp_path / "key")
    wrong = key.secret[:-1] + ("Q" if key.secret[-1] != "Q" else "P")
    key.file.write_text(f"# a comment\n{wrong}\n")
    message = refusal(key.file)
    assert "line 2" in message
    assert "checksum" in message
    assert wrong[20:] not in message


def test_what_is_no_identity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (
        b"age-encryption.org/v1\n-> scrypt x 18\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",
        b"AGE-PLUGIN-YUBIKEY-1QQQ\n",
        str(pyrage.x25519.Identity.generate().to_public()).encode(),
    ):
        path.write_bytes(content)
        assert "line 1" in refusal(path)
    path.write_bytes(b"\xff\xfe")
    assert "not text" in refusal(path)
    path.write_bytes(b"# nothing\n")
    assert "holds no identity" in refusal(path)
    path.unlink()
    assert "No such file" in refusal(path)
    assert "Is a directory" in refusal(tmp_path)


def test_a_backup_that_is_not_encrypted_needs_none(tmp_path: Path) -> None:
    assert fitting(manifest_of(PLACE), read_identities([age_key(tmp_path / "key").file])) is None


def test_those_that_fit_are_chosen_of_many(tmp_path: Path) -> None:
    keys = [age_key(tmp_path / str(number)) for number in range(4)]
    manifest = encrypted_for(keys[1].recipient, keys[3].recipient)
    found = fitting(manifest, read_identities(key.file for key in keys))
    assert found is not None
    assert [one.fingerprint for one in found] == [parse(keys[number].recipient).fingerprint for number in (1, 3)]


def test_without_one_that_fits_the_fingerprints_are_told(tmp_path: Path) -> None:
    wanted, other = age_key(tmp_path / "wanted"), age_key(tmp_path / "other")
    manifest = encrypted_for(wanted.recipient)
    with pytest.raises(RejectedError) as missing:
        fitting(manifest, ())
    with pytest.raises(RejectedError) as wrong:
        fitting(manifest, read_identities([other.file]))
    assert (missing.value.code, wrong.value.code) == (ErrorCode.IDENTITY_MISSING, ErrorCode.IDENTITY_WRONG)
    assert parse(wanted.recipient).fingerprint in missing.value.message
    assert parse(other.recipient).fingerprint in wrong.value.message
