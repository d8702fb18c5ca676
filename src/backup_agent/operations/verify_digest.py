"""Level `digest`: every byte of a chain is read from the store and compared with its digests. Nothing touches the disk.

Chunks are decrypted, decompressed and compared with the digest of the whole stream, as a restore does. Without an
identity, those of an encrypted backup are compared as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator

from backup_agent.domain.manifest import Manifest
from backup_agent.domain.verification import Figures, Seconds
from backup_agent.errors import IntegrityError
from backup_agent.operations.proof import Examination, Proof, fault
from backup_agent.operations.restore import RestoreProgress
from backup_agent.stream.download import read_stream
from backup_agent.stream.stored import check_chunks


def digest_proofs(examination: Examination) -> Iterator[Proof]:
    """A proof of each link, until one is broken. Raises what the store raises, and RejectedError (`identity_wrong`)."""
    reading = _Reading(examination)
    for number, link in enumerate(examination.chain):
        try:
            reading.read(number, link)
        except IntegrityError as error:
            yield Proof(number, reading.figures(), (fault(error),), breaks_chain=True)
            return
        yield Proof(number, reading.figures())


class _Reading:
    def __init__(self, examination: Examination) -> None:
        self._examination = examination
        self._clock = examination.services.clock
        self._began = self._clock.monotonic()
        self._total = sum(link.totals.raw_size for link in examination.chain)
        self._read = 0
        self._raw: int | None = 0
        self._stored = 0

    def read(self, number: int, link: Manifest) -> None:
        examination = self._examination
        place = examination.catalogue.place(link.instance_id, link.id)
        source = (examination.catalogue.store, place, link, examination.services.stream)
        if link.encryption is not None and not examination.identities:
            self._raw = None
            for chunk in check_chunks(*source):
                self._tell(number, chunk.raw_size)
        else:
            for piece in read_stream(*source, examination.identities):
                self._tell(number, len(piece))
            if self._raw is not None:
                self._raw += link.totals.raw_size
        self._stored += link.totals.stored_size

    def figures(self) -> Figures:
        seconds = Seconds(fetch=round(self._clock.monotonic() - self._began, 3))
        return Figures(stored_bytes=self._stored, raw_bytes=self._raw, seconds=seconds)

    def _tell(self, number: int, size: int) -> None:
        self._examination.cancellation.check()
        self._read += size
        step = f"reading link {number + 1} of {len(self._examination.chain)}"
        self._examination.on_progress(RestoreProgress(step, self._read, self._total))
