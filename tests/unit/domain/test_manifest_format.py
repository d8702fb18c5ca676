"""Which formats of a manifest are read, and what a chunk is called in each."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import Compression, Encryption, Manifest, decode, encode
from backup_agent.errors import ErrorCode, IntegrityError
from tests.unit.manifests import manifest_of

PLACE = BackupPlace("c", "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
ENCRYPTION = Encryption(scheme="age", recipients=("SHA256:" + "A" * 43,))


def read(data: bytes) -> Manifest:
    return decode(data, instance_id=PLACE.instance_id, backup_id=PLACE.backup_id).manifest


def written(payload: dict[str, Any]) -> bytes:
    """Canonical, with its digest, whatever is in it."""

    def canonical(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    return canonical({"payload": payload, "sha256": hashlib.sha256(canonical(payload)).hexdigest()})


def payload(**fields: object) -> dict[str, Any]:
    return {**json.loads(encode(manifest_of(PLACE)))["payload"], **fields}


def refusal(data: bytes) -> ErrorCode:
    with pytest.raises(IntegrityError) as caught:
        read(data)
    return caught.value.code


@pytest.mark.parametrize("encryption", [None, ENCRYPTION])
def test_what_is_written_is_of_format_2_and_is_read_back(encryption: Encryption | None) -> None:
    manifest = manifest_of(PLACE, encryption=encryption)
    assert manifest.format == 2
    assert read(encode(manifest)) == manifest


def test_a_manifest_of_format_1_is_still_read_and_is_not_encrypted() -> None:
    old = payload(format=1)
    del old["encryption"], old["newest_tablespace"]
    manifest = read(written(old))
    assert (manifest.format, manifest.encryption, manifest.chunk_suffix) == (1, None, ".zst")
    assert encode(manifest) == written(old)


@pytest.mark.parametrize("found", [3, 0, -1, 2.5, "2", None, [2]])
def test_another_format_is_not_guessed_at(found: object) -> None:
    assert refusal(written(payload(format=found))) is ErrorCode.MANIFEST_FORMAT


def test_the_formats_are_not_mixed() -> None:
    assert refusal(written(payload(format=1, encryption=None))) is ErrorCode.MANIFEST_CORRUPT
    without = payload()
    del without["encryption"]
    assert refusal(written(without)) is ErrorCode.MANIFEST_CORRUPT


@pytest.mark.parametrize(
    "encryption",
    [
        {"scheme": "gpg", "recipients": ["SHA256:" + "A" * 43]},
        {"scheme": "age", "recipients": []},
        {"scheme": "age", "recipients": ["age1jrth79al64vz0yrfp0n77cad2wkgucy9pa9hkvfg3ce8zyfjzacskp9855"]},
        {"scheme": "age"},
        {},
        True,
    ],
)
def test_an_encryption_that_is_not_understood_is_refused(encryption: object) -> None:
    assert refusal(written(payload(encryption=encryption))) is ErrorCode.MANIFEST_CORRUPT


@pytest.mark.parametrize(
    ("algorithm", "encryption", "suffix"),
    [("zstd", None, ".zst"), ("none", None, ""), ("zstd", ENCRYPTION, ".zst.age"), ("none", ENCRYPTION, ".age")],
)
def test_a_chunk_is_called_by_what_has_to_be_undone(algorithm: Any, encryption: Encryption | None, suffix: str) -> None:
    compression = Compression(algorithm=algorithm, level=0)
    assert manifest_of(PLACE, compression=compression, encryption=encryption).chunk_suffix == suffix
