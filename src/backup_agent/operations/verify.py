"""Verifies a backup with the whole chain it needs, and keeps the result beside it.

It reads the store and never the instance, so it does not take the instance's lock; it keeps the chain from being
removed meanwhile, on this host. All of it runs at low priority, in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.chain import Chain
from backup_agent.domain.manifest import SealedManifest
from backup_agent.domain.verification import Fault, Figures, Level, Outcome, Verification
from backup_agent.errors import ErrorCode, IntegrityError, MissingError, RejectedError, StoreError, VerificationError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.clock import timestamp
from backup_agent.operations.proof import Examination, Proof, fault
from backup_agent.operations.restore import RestoreProgress
from backup_agent.operations.scratch import ScratchSettings
from backup_agent.operations.services import Services
from backup_agent.operations.verifications import record
from backup_agent.operations.verify_digest import digest_proofs
from backup_agent.operations.verify_restore import restore_proofs
from backup_agent.stream.identity import Identity

log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """`each`: also every backup of the chain before it, each with a result of its own."""

    backup_id: str
    level: Level
    each: bool = False
    identities: tuple[Identity, ...] = ()
    """Of those for whom the backups of the chain are encrypted."""
    scratch_dir: Path | None = None
    """Another one than the configured one."""
    of_any_instance: bool = True
    """Or only one of our own."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A backup, the URL of its manifest, and what was found of it."""

    sealed: SealedManifest
    location: str
    verification: Verification


def verify(
    request: VerifyRequest,
    services: Services,
    cancellation: Cancellation,
    on_progress: Callable[[RestoreProgress], None],
) -> tuple[Verified, ...]:
    """What was found, of the backup asked for last; also that it can't be relied on: see `failure`. All is recorded.

    Raises BackupAgentError for what says nothing of the backup; IntegrityError when its very manifest can't be trusted;
    BusyError (`backup_busy`) while it is being removed. Nothing is recorded then.
    """
    catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
    tip = _find(request, catalogue, services)
    notary = _Notary(request.level, catalogue, services)
    try:
        chain = catalogue.chain(tip)
    except IntegrityError as error:
        return (notary.of_broken_chain(tip, fault(error)),)
    with _kept(chain, catalogue, services):
        examination = Examination(
            chain=chain,
            each=request.each,
            identities=request.identities,
            scratch=_scratch(request, services),
            catalogue=catalogue,
            services=services,
            cancellation=cancellation,
            on_progress=on_progress,
        )
        return _in_background(lambda: tuple(_examine(examination, notary)), services, cancellation)


def failure(found: tuple[Verified, ...]) -> VerificationError | None:
    """The error of what was found; None when all passed."""
    failed = [one.verification for one in found if not one.verification.passed]
    if not failed:
        return None
    first = failed[0]
    why = f"{first.faults[0].message} [{first.faults[0].code}]"
    more = f"; and {len(first.faults) - 1} more" if len(first.faults) > 1 else ""
    others = f" (and {len(failed) - 1} more backups of its chain)" if len(failed) > 1 else ""
    return VerificationError(
        ErrorCode.VERIFICATION_FAILED,
        f"backup {first.backup_id}{others} can't be relied on: {why}{more}",
        "Take a new full backup now; `backup-agent show` has what was found. Find out what became of the stored bytes.",
    )


def _find(request: VerifyRequest, catalogue: Catalogue, services: Services) -> SealedManifest:
    tip = catalogue.find(request.backup_id, services.policy.instance_id)
    if not request.of_any_instance and tip.manifest.instance_id != services.policy.instance_id:
        raise RejectedError(
            ErrorCode.BACKUP_NOT_FOUND,
            f"there is no completed backup {tip.manifest.id} of this instance",
            "`backup-agent list` shows the backups there are.",
        )
    return tip


def _scratch(request: VerifyRequest, services: Services) -> ScratchSettings:
    settings = services.verifying.scratch
    return settings if request.scratch_dir is None else replace(settings, directory=request.scratch_dir)


def _examine(examination: Examination, notary: _Notary) -> Iterator[Verified]:
    links = examination.chain.links
    proofs = digest_proofs(examination) if notary.level is Level.DIGEST else restore_proofs(examination)
    for proof in proofs:
        numbers = range(proof.number, len(links)) if proof.breaks_chain else (proof.number,)
        for number in numbers:
            if examination.concerns(number):
                yield notary.of_proof(examination.chain, replace(proof, number=number))


@contextmanager
def _kept(chain: Chain, catalogue: Catalogue, services: Services) -> Iterator[None]:
    """Nobody on this host removes the chain meanwhile. Raises BusyError, and RejectedError when it has just gone."""
    with services.readers.reading(link.id for link in chain):
        try:
            catalogue.load(chain.tip.instance_id, chain.tip.id)
        except MissingError as error:
            raise RejectedError(
                ErrorCode.BACKUP_NOT_FOUND, f"backup {chain.tip.id} was removed just now", "Verify another one."
            ) from error
        yield


def _in_background(
    work: Callable[[], tuple[Verified, ...]], services: Services, cancellation: Cancellation
) -> tuple[Verified, ...]:
    """In a thread whose priority, and that of all it starts, can stay low: ours could not be raised again."""
    with ThreadPoolExecutor(1, "verify", initializer=services.verifying.lower_priority) as pool:
        done = pool.submit(work)
        while not wait([done], timeout=_LOOK_EVERY).done:
            cancellation.look()
        return done.result()


class _Notary:
    """Writes down what was found."""

    def __init__(self, level: Level, catalogue: Catalogue, services: Services) -> None:
        self.level = level
        self._catalogue = catalogue
        self._services = services

    def of_broken_chain(self, tip: SealedManifest, why: Fault) -> Verified:
        return self._conclude(tip, Proof(0, Figures(raw_bytes=0), (why,)), ())

    def of_proof(self, chain: Chain, proof: Proof) -> Verified:
        links = chain.links[: proof.number + 1]
        return self._conclude(links[-1], proof, tuple(link.manifest.id for link in links))

    def _conclude(self, sealed: SealedManifest, proof: Proof, chain: tuple[str, ...]) -> Verified:
        restored = self.level is Level.RESTORE and bool(chain)
        verification = Verification(
            backup_id=sealed.manifest.id,
            instance_id=sealed.manifest.instance_id,
            manifest_sha256=sealed.checksum,
            level=self.level,
            result=Outcome.FAILED if proof.faults else Outcome.PASSED,
            time=timestamp(self._services.clock.now()),
            agent_version=self._services.agent_version,
            engine_version=self._services.engine.version().version if restored else None,
            server_version=proof.server_version,
            chain=chain,
            figures=proof.figures,
            unchecked=proof.unchecked,
            faults=proof.faults,
        )
        self._record(verification)
        location = self._catalogue.location(sealed.manifest.instance_id, sealed.manifest.id)
        return Verified(sealed, location, verification)

    def _record(self, verification: Verification) -> None:
        """Who may only read the store can verify all the same."""
        try:
            record(self._catalogue, verification)
        except StoreError as error:
            if error.code is not ErrorCode.STORE_DENIED:
                raise
            log.warning(
                "the result is not kept in the store, which this host may not write",
                backup_id=verification.backup_id,
                reason=error.message,
            )
