"""What an attacker, or a failing disk, may do to the objects of a chain: many small ways, each by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backup_agent.domain import manifest as manifests
from backup_agent.domain.layout import MANIFEST, SIGNATURE
from backup_agent.domain.manifest import (
    Manifest,
    Parent,
)
from backup_agent.domain.recipient import Recipient
from backup_agent.operations.signatures import SigningKey
from backup_agent.stream.age import Encryption
from tests.e2e.shelf import IDS, KIB, Shelf


class Mutation:
    """One change of the shelf's files, which are put back at the end."""

    def __init__(self, made: Shelf, chance: random.Random) -> None:
        self.shelf = made
        self.chance = chance
        self._before: dict[Path, bytes | None] = {}

    @property
    def changed(self) -> bool:
        return any((path.read_bytes() if path.exists() else None) != data for path, data in self._before.items())

    def write(self, path: Path, data: bytes) -> None:
        self._before.setdefault(path, path.read_bytes() if path.exists() else None)
        path.write_bytes(data)

    def remove(self, path: Path) -> None:
        self._before.setdefault(path, path.read_bytes())
        path.unlink()

    def undo(self) -> None:
        for path, data in self._before.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)

    def link(self) -> str:
        return self.chance.choice(IDS[:3])

    def chunk(self) -> Path:
        return self.chance.choice(self.shelf.chunks(self.link()))

    def manifest(self) -> Path:
        return self.shelf.directory(self.link()) / MANIFEST

    def signature(self) -> Path:
        return self.shelf.directory(self.link()) / SIGNATURE

    def anything(self) -> Path:
        return self.chance.choice([self.chunk, self.chunk, self.manifest, self.signature])()

    def swap(self, one: Path, other: Path) -> None:
        first, second = one.read_bytes(), other.read_bytes()
        self.write(one, second)
        self.write(other, first)

    def put(self, backup_id: str, objects: dict[str, bytes]) -> None:
        """In the place of all that the backup has."""
        for path in list(self.shelf.directory(backup_id).iterdir()):
            self.remove(path)
        for name, data in objects.items():
            self.write(self.shelf.directory(backup_id) / name, data)


@contextmanager
def mutated(made: Shelf, change: Callable[[Mutation], None], chance: random.Random) -> Iterator[bool]:
    """Yields whether anything is not as before."""
    mutation = Mutation(made, chance)
    try:
        change(mutation)
        yield mutation.changed
    finally:
        mutation.undo()


def flip_a_bit(mutation: Mutation) -> None:
    path = mutation.anything()
    data = bytearray(path.read_bytes())
    data[mutation.chance.randrange(len(data))] ^= 1 << mutation.chance.randrange(8)
    mutation.write(path, bytes(data))


def cut_short(mutation: Mutation) -> None:
    path = mutation.anything()
    data = path.read_bytes()
    mutation.write(path, data[: mutation.chance.randrange(len(data))])


def append(mutation: Mutation) -> None:
    path = mutation.anything()
    more = mutation.chance.choice([b"\0", b"\n", path.read_bytes(), mutation.chance.randbytes(40)])
    mutation.write(path, path.read_bytes() + more)


def blank_a_range(mutation: Mutation) -> None:
    path = mutation.anything()
    data = bytearray(path.read_bytes())
    start = mutation.chance.randrange(len(data))
    end = min(len(data), start + mutation.chance.randrange(1, 4096))
    data[start:end] = bytes(end - start)
    mutation.write(path, bytes(data))


def swap_two_chunks(mutation: Mutation) -> None:
    mutation.swap(*mutation.chance.sample(mutation.shelf.chunks(mutation.link()), 2))


def swap_chunks_between_links(mutation: Mutation) -> None:
    one, other = mutation.chance.sample(IDS[:3], 2)
    mutation.swap(
        mutation.chance.choice(mutation.shelf.chunks(one)), mutation.chance.choice(mutation.shelf.chunks(other))
    )


def swap_chunks_between_backups(mutation: Mutation) -> None:
    one, number = mutation.shelf.chunks(mutation.link()), mutation.chance.randrange(10)
    mutation.swap(one[number], mutation.shelf.chunks(IDS[3])[number])


def repeat_a_chunk(mutation: Mutation) -> None:
    one, other = mutation.chance.sample(mutation.shelf.chunks(mutation.link()), 2)
    mutation.write(one, other.read_bytes())


def delete_an_object(mutation: Mutation) -> None:
    mutation.remove(mutation.anything())


def drop_a_whole_backup(mutation: Mutation) -> None:
    mutation.put(mutation.link(), {})


def exchange_manifests(mutation: Mutation) -> None:
    """With or without their signatures, of links or with the other backup's."""
    one, other = mutation.chance.sample(IDS, 2)
    names = [MANIFEST, SIGNATURE] if mutation.chance.random() < 0.5 else [MANIFEST]
    for name in names:
        mutation.swap(mutation.shelf.directory(one) / name, mutation.shelf.directory(other) / name)


def replay_an_object(mutation: Mutation) -> None:
    """A genuine one, of the backup that had this id before."""
    backup_id = mutation.link()
    name = mutation.chance.choice(sorted(mutation.shelf.earlier[backup_id]))
    mutation.write(mutation.shelf.directory(backup_id) / name, mutation.shelf.earlier[backup_id][name])


def replay_a_whole_backup(mutation: Mutation) -> None:
    """Genuine and signed, all of it: only a child, or the journal, knows that it is not the last one."""
    backup_id = mutation.link()
    mutation.put(backup_id, mutation.shelf.earlier[backup_id])


def seal_again(mutation: Mutation) -> None:
    """The same raw bytes, by anybody who could read them: they would even restore."""
    number = mutation.chance.randrange(3)
    link = mutation.shelf.links[number]
    at = mutation.chance.randrange(len(link.chunks))
    raw = mutation.shelf.streams[link.id][at * 16 * KIB : (at + 1) * 16 * KIB]
    again = sealed(raw, mutation.shelf.settings.recipients, level=mutation.chance.randrange(1, 10), checksum=False)
    mutation.write(mutation.shelf.chunks(link.id)[at], again)


def forge_a_manifest(mutation: Mutation) -> None:
    """Whole in itself; the signature stays, is by another key, or is gone."""
    number = mutation.chance.randrange(3)
    link = mutation.shelf.links[number]
    first, *others = link.chunks
    shorter = link.totals.model_copy(
        update={
            "raw_size": link.totals.raw_size - first.raw_size,
            "stored_size": link.totals.stored_size - first.stored_size,
        }
    )
    changes: list[dict[str, Any]] = [
        {"name": f"name {mutation.chance.random()}"},
        {"account_id": f"{mutation.chance.randrange(10**6)}"},
        {"files": ()},
        {"chunks": tuple(others), "totals": shorter},
        {"chunks": (*others, first)},
        {"finished": "2027-01-01T00:00:00.000Z"},
        {"binlog": None},
        {"server_started": mutation.chance.randrange(10**9)},
    ]
    _forge(mutation, link.model_copy(update=mutation.chance.choice(changes)))


def forge_content(mutation: Mutation) -> None:
    """Other rows in a chunk, sealed as it should be (recipients are public), and a manifest that fits them."""
    link = mutation.chance.choice(mutation.shelf.links)
    at = mutation.chance.randrange(len(link.chunks))
    raw = bytearray(mutation.shelf.streams[link.id])
    raw[at * 16 * KIB] ^= 1
    _forge(mutation, _with_content(mutation, link, bytes(raw), at))


def forge_a_whole_chain(mutation: Mutation) -> None:
    """From the base to the tip, each naming its parent by the forged digest."""
    signer = mutation.chance.choice([SigningKey(Ed25519PrivateKey.generate()), None])
    base = mutation.shelf.links[0].model_copy(update={"name": f"forged {mutation.chance.random()}"})
    checksum = _write_forged(mutation, base, signer)
    for link in mutation.shelf.links[1:]:
        parent = Parent(id=link.parent.id if link.parent else "", manifest_sha256=checksum)
        checksum = _write_forged(mutation, link.model_copy(update={"parent": parent}), signer)


def _with_content(mutation: Mutation, link: Manifest, raw: bytes, at: int) -> Manifest:
    data = sealed(raw[at * 16 * KIB : (at + 1) * 16 * KIB], mutation.shelf.settings.recipients, level=1)
    mutation.write(mutation.shelf.chunks(link.id)[at], data)
    entry = link.chunks[at].model_copy(update={"stored_size": len(data), "sha256": manifests.seal(data)})
    chunks = (*link.chunks[:at], entry, *link.chunks[at + 1 :])
    totals = link.totals.model_copy(
        update={"stored_size": sum(chunk.stored_size for chunk in chunks), "raw_sha256": manifests.seal(raw)}
    )
    return link.model_copy(update={"chunks": chunks, "totals": totals})


def _forge(mutation: Mutation, forged: Manifest) -> None:
    kind = mutation.chance.choice(["kept", "another key's", "none"])
    if kind == "another key's":
        _write_forged(mutation, forged, SigningKey(Ed25519PrivateKey.generate()))
    elif kind == "none":
        _write_forged(mutation, forged, None)
    else:
        mutation.write(mutation.shelf.directory(forged.id) / MANIFEST, manifests.encode(forged))


def _write_forged(mutation: Mutation, forged: Manifest, signer: SigningKey | None) -> str:
    directory, data = mutation.shelf.directory(forged.id), manifests.encode(forged)
    mutation.write(directory / MANIFEST, data)
    if signer is None:
        mutation.remove(directory / SIGNATURE)
    else:
        mutation.write(directory / SIGNATURE, signer.sign(data))
    return manifests.seal(data)


def sealed(raw: bytes, recipients: tuple[Recipient, ...], *, level: int, checksum: bool = True) -> bytes:
    frame = zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(raw)
    if not recipients:
        return frame
    written = bytearray()
    encryption = Encryption(recipients, written.extend)
    encryption.feed(frame)
    encryption.finish()
    return bytes(written)


FEW: frozenset[Callable[[Mutation], None]] = frozenset((drop_a_whole_backup, replay_a_whole_backup, exchange_manifests))
"""Those of which there are not many different ones."""
MUTATIONS: tuple[Callable[[Mutation], None], ...] = (
    flip_a_bit,
    cut_short,
    append,
    blank_a_range,
    swap_two_chunks,
    swap_chunks_between_links,
    swap_chunks_between_backups,
    repeat_a_chunk,
    delete_an_object,
    drop_a_whole_backup,
    exchange_manifests,
    replay_an_object,
    replay_a_whole_backup,
    seal_again,
    forge_a_manifest,
    forge_content,
    forge_a_whole_chain,
)
