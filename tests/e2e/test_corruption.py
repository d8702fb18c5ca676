"""Whatever happens to a stored object of a real backup, a restore notices before it hands over data.

(test_mutations.py has the thousands, of streams that are small.)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_agent.app.wiring import wire
from backup_agent.cancellation import Cancellation
from backup_agent.config.file import load
from backup_agent.domain.manifest import Manifest, decode, encode
from backup_agent.errors import ErrorCode, IntegrityError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.restore import RestoreRequest, restore
from backup_agent.report.log import LogReporter
from backup_agent.stream.download import read_stream
from tests.agent import Agent
from tests.e2e.judging import serving
from tests.servers.mariadb import PrivateMariaDB, create_agent_user

pytestmark = pytest.mark.server

FLIPS = 40
RESTORED_FLIPS = 8
Damage = Callable[["Backups"], object]


@dataclass(frozen=True)
class Backups:
    """Two chains in one store: a full with an incremental, and another full."""

    agent: Agent
    full: str
    incremental: str
    other: str

    def chunk(self, backup_id: str, number: int) -> Path:
        return sorted(self.agent.directory(backup_id).glob("chunk-*"))[number]

    def manifest(self, backup_id: str) -> Path:
        return self.agent.directory(backup_id) / "manifest.json"

    def read(self, backup_id: str) -> Manifest:
        data = self.manifest(backup_id).read_bytes()
        return decode(data, instance_id=self.agent.instance_id, backup_id=backup_id).manifest


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    base = tmp_path_factory.mktemp("corruption")
    with PrivateMariaDB(base / "mariadb") as server:
        create_agent_user(server)
        agent = Agent(base / "agent", server, extra={"stream": {"chunk_mib": 1, "memory_mib": 8}})
        server.execute(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.orders (id INT PRIMARY KEY, what CHAR(250)) ENGINE=InnoDB",
            "INSERT INTO shop.orders SELECT seq, SHA2(seq, 512) FROM mysql.seq_1_to_5000",
        )
        full = agent.backup()["id"]
        server.execute("INSERT INTO shop.orders SELECT seq, SHA2(seq, 512) FROM mysql.seq_5001_to_15000")
        incremental = agent.backup("--incremental")["id"]
        return Backups(agent, full, incremental, agent.backup()["id"])


@contextmanager
def kept(directory: Path) -> Iterator[None]:
    """Puts everything below `directory` back as it was."""
    objects = read_files(directory)
    try:
        yield
    finally:
        now = read_files(directory)
        for path in now.keys() - objects.keys():
            path.unlink()
        for path, data in objects.items():
            if now.get(path) != data:
                path.write_bytes(data)


def read_files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def flip(path: Path, position: int, mask: int = 0xFF) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= mask
    path.write_bytes(data)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def remove_chunks(backups: Backups, backup_id: str) -> None:
    for path in backups.agent.directory(backup_id).glob("chunk-*"):
        path.unlink()


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def rewrite(backups: Backups, backup_id: str) -> None:
    """Another manifest of the same backup, whole in itself."""
    manifest = backups.read(backup_id).model_copy(update={"name": "another name"})
    backups.manifest(backup_id).write_bytes(encode(manifest))


def take_over(backups: Backups, backup_id: str) -> None:
    """The other full's manifest and chunks, with the id of this one."""
    for path in backups.agent.directory(backup_id).iterdir():
        path.unlink()
    for path in backups.agent.directory(backups.other).glob("chunk-*"):
        (backups.agent.directory(backup_id) / path.name).write_bytes(path.read_bytes())
    manifest = backups.read(backups.other).model_copy(update={"id": backup_id})
    backups.manifest(backup_id).write_bytes(encode(manifest))


CORRUPT, MISSING, MANIFEST, PARENT = "chunk_corrupt", "chunk_missing", "manifest_corrupt", "parent_changed"
REPLAYED = "backup_replayed"

DAMAGE: dict[str, tuple[str, Damage]] = {
    "the first byte of the full": (CORRUPT, lambda b: flip(b.chunk(b.full, 0), 0)),
    "the last byte of the full": (CORRUPT, lambda b: flip(b.chunk(b.full, -1), -1)),
    "the first byte of the incremental": (CORRUPT, lambda b: flip(b.chunk(b.incremental, 0), 0)),
    "the last bit of the incremental": (CORRUPT, lambda b: flip(b.chunk(b.incremental, -1), -1, 1)),
    "a chunk without its last byte": (CORRUPT, lambda b: edit(b.chunk(b.full, 1), lambda data: data[:-1])),
    "a chunk without any byte": (CORRUPT, lambda b: edit(b.chunk(b.incremental, -1), lambda _: b"")),
    "a chunk with one byte more": (CORRUPT, lambda b: edit(b.chunk(b.full, 1), lambda data: data + b"\0")),
    "a chunk that is there twice in one": (CORRUPT, lambda b: edit(b.chunk(b.full, 1), lambda data: data + data)),
    "a chunk that is gone": (MISSING, lambda b: b.chunk(b.full, -1).unlink()),
    "the incremental's only the manifest": (MISSING, lambda b: remove_chunks(b, b.incremental)),
    "two chunks exchanged": (CORRUPT, lambda b: swap(b.chunk(b.full, 0), b.chunk(b.full, 1))),
    "chunks of two links exchanged": (CORRUPT, lambda b: swap(b.chunk(b.full, 0), b.chunk(b.incremental, 0))),
    # The last ones, which hold the engine's unique note: others may be the same bytes in both.
    "chunks of two fulls exchanged": (CORRUPT, lambda b: swap(b.chunk(b.full, -1), b.chunk(b.other, -1))),
    "the first byte of the manifest": (MANIFEST, lambda b: flip(b.manifest(b.incremental), 0)),
    "the last bit of the manifest": (MANIFEST, lambda b: flip(b.manifest(b.incremental), -1, 1)),
    "a byte of the full's manifest": (MANIFEST, lambda b: flip(b.manifest(b.full), 1000)),
    "a manifest cut short": (MANIFEST, lambda b: edit(b.manifest(b.full), lambda data: data[:-10])),
    "a manifest with a line break": (MANIFEST, lambda b: edit(b.manifest(b.incremental), lambda data: data + b"\n")),
    "a manifest without any byte": (MANIFEST, lambda b: edit(b.manifest(b.incremental), lambda _: b"")),
    "the manifests of two links exchanged": (MANIFEST, lambda b: swap(b.manifest(b.full), b.manifest(b.incremental))),
    "the manifests of two fulls exchanged": (MANIFEST, lambda b: swap(b.manifest(b.full), b.manifest(b.other))),
    "the full's manifest gone": (PARENT, lambda b: b.manifest(b.full).unlink()),
    "another manifest of the full": (REPLAYED, lambda b: rewrite(b, b.full)),
    "another full in the place of the full": (REPLAYED, lambda b: take_over(b, b.full)),
}


COMMANDED = (
    "the last bit of the incremental",
    "a chunk that is gone",
    "the manifests of two links exchanged",
    "another full in the place of the full",
)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_store_makes_the_restore_fail_and_leaves_the_directory_empty(
    backups: Backups, tmp_path: Path, name: str
) -> None:
    code, damage = DAMAGE[name]
    services = wire(load(backups.agent.config_file), LogReporter())
    request = RestoreRequest(backups.incremental, tmp_path / "target")
    with kept(backups.agent.store):
        damage(backups)
        with pytest.raises(IntegrityError) as caught:
            restore(request, services, Cancellation(), lambda _: None)
    assert caught.value.code == code
    assert list((tmp_path / "target").glob("*")) == []


@pytest.mark.parametrize("name", COMMANDED)
def test_the_command_ends_with_the_status_of_lost_integrity(backups: Backups, tmp_path: Path, name: str) -> None:
    code, damage = DAMAGE[name]
    with kept(backups.agent.store):
        damage(backups)
        outcome = backups.agent.run("restore", backups.incremental, "--target-dir", tmp_path / "target", "--json")
    assert (outcome.status, outcome.error["code"]) == (IntegrityError.exit_status, code)
    assert outcome.stdout == ""
    assert list((tmp_path / "target").glob("*")) == []


@pytest.mark.parametrize("name", [name for name, (code, _) in DAMAGE.items() if code == REPLAYED])
def test_a_host_that_remembers_nothing_is_told_by_the_child(
    backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("BACKUP_AGENT_JOURNAL__DIR", str(tmp_path / "journal"))
    services = wire(load(backups.agent.config_file), LogReporter())
    request = RestoreRequest(backups.incremental, tmp_path / "target")
    with kept(backups.agent.store):
        DAMAGE[name][1](backups)
        with pytest.raises(IntegrityError) as caught:
            restore(request, services, Cancellation(), lambda _: None)
    assert caught.value.code == PARENT


def test_a_backup_that_is_gone_is_listed_with_a_warning(backups: Backups) -> None:
    with kept(backups.agent.store):
        backups.manifest(backups.other).unlink()
        outcome = backups.agent.run("list", "--json")
    assert [one["id"] for one in outcome.json["backups"]] == [backups.incremental, backups.full]
    assert [one["id"] for one in outcome.json["vanished"]] == [backups.other]
    assert (outcome.status, outcome.log[-1]["level"], outcome.log[-1]["code"]) == (0, "warning", "backup_vanished")


def test_a_backup_that_was_replaced_is_listed_as_unreadable(backups: Backups) -> None:
    with kept(backups.agent.store):
        rewrite(backups, backups.other)
        outcome = backups.agent.run("list", "--json")
    assert [one["id"] for one in outcome.json["unreadable"]] == [backups.other]
    assert (outcome.status, outcome.error["code"]) == (9, "backup_replayed")


def test_the_undamaged_store_restores(backups: Backups, tmp_path: Path) -> None:
    backups.agent.restore(backups.incremental, tmp_path / "target")
    with serving(tmp_path / "target") as server:
        assert server.query("SELECT COUNT(*) FROM shop.orders") == [(15_000,)]


def test_a_backup_without_its_manifest_is_none(backups: Backups, tmp_path: Path) -> None:
    with kept(backups.agent.store):
        backups.manifest(backups.incremental).unlink()
        outcome = backups.agent.run("restore", backups.incremental, "--target-dir", tmp_path / "target", "--json")
    assert (outcome.status, outcome.error["code"]) == (IntegrityError.exit_status, "backup_vanished")
    assert not (tmp_path / "target").exists()


def test_random_flips_in_chunks_are_noticed_by_the_restore(backups: Backups, tmp_path: Path) -> None:
    services = wire(load(backups.agent.config_file), LogReporter())
    request = RestoreRequest(backups.incremental, tmp_path / "target", prepare=False)
    with kept(backups.agent.store):
        for path, position, mask in random_flips((backups.full, backups.incremental), backups, RESTORED_FLIPS):
            flip(path, position, mask)
            with pytest.raises(IntegrityError) as caught:
                restore(request, services, Cancellation(), lambda _: None)
            assert caught.value.code is ErrorCode.CHUNK_CORRUPT
            assert path.name in caught.value.message
            assert list(request.target.iterdir()) == []
            flip(path, position, mask)


def test_random_flips_in_chunks_are_noticed_by_whatever_reads_the_stream(backups: Backups) -> None:
    services = wire(load(backups.agent.config_file), LogReporter())
    catalogue = Catalogue(services.connect_store(Cancellation(), None), services.container, services.trust)
    with kept(backups.agent.store):
        for path, position, mask in random_flips((backups.full, backups.incremental, backups.other), backups, FLIPS):
            flip(path, position, mask)
            place = catalogue.place(backups.agent.instance_id, path.parent.name)
            given_out: list[bytes] = []
            with pytest.raises(IntegrityError) as caught:
                given_out.extend(
                    map(bytes, read_stream(catalogue.store, place, backups.read(path.parent.name), services.stream))
                )
            assert caught.value.code is ErrorCode.CHUNK_CORRUPT
            assert len(given_out) == int(path.stem.removeprefix("chunk-"))
            flip(path, position, mask)


def test_chunks_that_are_as_listed_but_in_another_order_are_noticed_at_the_end_of_the_stream(backups: Backups) -> None:
    """A manifest and its chunks changed alike: only the digest of the whole stream tells."""
    services = wire(load(backups.agent.config_file), LogReporter())
    store = services.connect_store(Cancellation(), None)
    place = Catalogue(store, services.container, services.trust).place(backups.agent.instance_id, backups.full)
    manifest = backups.read(backups.full)
    first, second, *others = manifest.chunks
    with kept(backups.agent.store):
        swap(backups.chunk(backups.full, 0), backups.chunk(backups.full, 1))
        changed = manifest.model_copy(update={"chunks": (second, first, *others)})
        with pytest.raises(IntegrityError, match="not the stream that was backed up"):
            list(read_stream(store, place, changed, services.stream))


def test_a_flip_in_a_real_manifest_is_noticed(backups: Backups) -> None:
    """Of some bytes; test_manifest_damage.py does it to each byte of a small one."""
    chance = random.Random(3)
    data = bytearray(backups.manifest(backups.incremental).read_bytes())
    for position in chance.sample(range(len(data)), 1000):
        mask = chance.randrange(1, 256)
        data[position] ^= mask
        with pytest.raises(IntegrityError):
            decode(bytes(data), instance_id=backups.agent.instance_id, backup_id=backups.incremental)
        data[position] ^= mask


def random_flips(backup_ids: Sequence[str], backups: Backups, count: int) -> Iterator[tuple[Path, int, int]]:
    """A chunk, a position in it, and the bits to flip there."""
    chance = random.Random(count)
    chunks = [path for backup_id in backup_ids for path in sorted(backups.agent.directory(backup_id).glob("chunk-*"))]
    for _ in range(count):
        path = chance.choice(chunks)
        yield path, chance.randrange(path.stat().st_size), chance.randrange(1, 256)
