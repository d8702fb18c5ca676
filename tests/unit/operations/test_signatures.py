"""Who signed a manifest, and what becomes of one that nobody trusted has signed."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from backup_agent.domain.layout import MANIFEST, SIGNATURE, BackupPlace
from backup_agent.domain.signature import PREAMBLE
from backup_agent.errors import BackupAgentError, ConfigError, ErrorCode, IntegrityError, StoreError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.commit import commit
from backup_agent.operations.signatures import Ed25519Signatures, SigningKey, generate, read_signing_key
from backup_agent.operations.trust import Trust, no_memory
from backup_agent.storage.local import LocalStore
from tests.unit.manifests import manifest_of

BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"
PLACE = BackupPlace("c", "44b277eb-39be-4921-be31-3d61b43651d7", BACKUP)
DATA = b'{"payload":{}}'
OURS, OTHERS = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(2))


def verdict(signature: bytes | None, *, required: bool, manifest: bytes = DATA) -> ErrorCode | None:
    try:
        Ed25519Signatures([OURS.public], required=required).check(BACKUP, manifest, signature)
    except IntegrityError as error:
        return error.code
    return None


@pytest.mark.parametrize("required", [True, False])
def test_a_signature_by_a_trusted_key_is_accepted(*, required: bool) -> None:
    assert verdict(OURS.sign(DATA), required=required) is None


def test_an_unsigned_manifest_is_refused_only_where_signatures_are_required() -> None:
    assert verdict(None, required=True) is ErrorCode.SIGNATURE_MISSING
    assert verdict(None, required=False) is None


@pytest.mark.parametrize("required", [True, False])
def test_a_signature_that_does_not_fit_is_always_refused(*, required: bool) -> None:
    assert verdict(OURS.sign(DATA + b" "), required=required) is ErrorCode.SIGNATURE_INVALID
    assert verdict(OURS.sign(DATA), required=required, manifest=b"{}") is ErrorCode.SIGNATURE_INVALID
    assert verdict(OTHERS.sign(DATA), required=required) is ErrorCode.SIGNATURE_UNKNOWN_KEY
    assert verdict(b"none", required=required) is ErrorCode.SIGNATURE_INVALID


def test_a_signature_under_another_keys_name_is_refused() -> None:
    theirs, ours = OTHERS.sign(DATA).split(b"\n"), OURS.sign(DATA).split(b"\n")
    assert verdict(b"\n".join([ours[0], ours[1], *theirs[2:]]), required=True) is ErrorCode.SIGNATURE_INVALID


def test_what_the_key_signed_for_another_purpose_is_no_signature_of_a_manifest(tmp_path: Path) -> None:
    """A manifest that begins as the preamble does would be signed as another text."""
    generate(tmp_path / "key")
    key = read_signing_key(tmp_path / "key")
    with pytest.raises(IntegrityError) as caught:
        Ed25519Signatures([key.public], required=True).check(BACKUP, PREAMBLE + DATA, key.sign(DATA))
    assert caught.value.code is ErrorCode.SIGNATURE_INVALID


def test_a_generated_key_is_private_and_is_read_back(tmp_path: Path) -> None:
    public = generate(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert read_signing_key(tmp_path / "key").public == public


def test_a_key_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    generate(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigError) as caught:
        generate(tmp_path / "key")
    assert caught.value.code is ErrorCode.SIGNING_KEY_UNUSABLE
    assert (tmp_path / "key").read_bytes() == before


def test_a_key_of_openssl_is_as_good_and_has_the_same_id(tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    der = subprocess.run(
        ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    digest = subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout
    assert read_signing_key(path).public.key_id == digest[:16].decode()


def unusable_keys() -> dict[str, bytes]:
    key = Ed25519PrivateKey.generate()
    return {
        "nothing": b"",
        "no key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "another kind of key": X25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "one with a passphrase": key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")
        ),
    }


@pytest.mark.parametrize("name", unusable_keys())
def test_a_file_without_a_usable_key_is_refused_without_being_shown(tmp_path: Path, name: str) -> None:
    content = unusable_keys()[name]
    (tmp_path / "key").write_bytes(content)
    error = refusal(tmp_path / "key")
    assert "AAAA" not in str(error)
    assert error.__cause__ is None


def test_a_missing_key_is_told_with_its_path(tmp_path: Path) -> None:
    assert str(tmp_path / "key") in refusal(tmp_path / "key").message


def refusal(path: Path) -> BackupAgentError:
    with pytest.raises(ConfigError) as caught:
        read_signing_key(path)
    assert caught.value.code is ErrorCode.SIGNING_KEY_UNUSABLE
    return caught.value


class Recorded(LocalStore):
    """Remembers the order; refuses manifests when told to."""

    def __init__(self, root: Path, *, refuses: bool) -> None:
        super().__init__(root, create=True)
        self.refuses = refuses
        self.names: list[str] = []

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        if self.refuses and key.endswith(MANIFEST):
            raise StoreError(ErrorCode.STORE_FULL, "it is full", "make room")
        super().put(key, body, sha256=sha256, once=once)
        self.names.append(key.rsplit("/", 1)[1])


def test_a_manifest_never_stands_without_its_signature(tmp_path: Path) -> None:
    store = Recorded(tmp_path, refuses=False)
    store.prepare("c")
    commit(manifest_of(PLACE), PLACE, store, OURS)
    assert store.names == [SIGNATURE, MANIFEST]
    trust = Trust(Ed25519Signatures([OURS.public], required=True), no_memory)
    assert Catalogue(store, "c", trust).load(PLACE.instance_id, BACKUP).manifest == manifest_of(PLACE)


def test_a_signature_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    store = Recorded(tmp_path, refuses=True)
    store.prepare("c")
    with pytest.raises(StoreError):
        commit(manifest_of(PLACE), PLACE, store, OURS)
    assert store.names == [SIGNATURE]
    trust = Trust(Ed25519Signatures([OURS.public], required=True), no_memory)
    assert Catalogue(store, "c", trust).backups(PLACE.instance_id) == ([], [])
