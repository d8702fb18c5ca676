"""Level `restore`: a chain is restored into a scratch directory, and a private server on it checks every table.

Each link is fetched, extracted and prepared as a restore does. Where every backup of the chain is to be proven, the
same files are brought forward link by link, and the server runs on a copy: a server changes its files, and nothing
could be applied to them any more.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_agent.domain.verification import Fault, Figures, Seconds
from backup_agent.engine.interface import series
from backup_agent.errors import (
    BackupAgentError,
    EngineError,
    ErrorCode,
    InstanceError,
    IntegrityError,
    RejectedError,
    TargetError,
)
from backup_agent.operations.proof import Examination, Proof, fault
from backup_agent.operations.restore import Restoration, RestoreProgress, bytes_needed, check_engine
from backup_agent.operations.scratch import User, give_to_server, is_full, scratch, server_user
from backup_agent.operations.serving import Served, Serving
from backup_agent.operations.target import RestoreTarget, cut_off
from backup_agent.stream.identity import fitting

_OF_THE_FILES = frozenset({ErrorCode.EXTRACT_FAILED, ErrorCode.PREPARE_FAILED, ErrorCode.RESTORED_UNUSABLE})
"""What an engine or a server says of a backup, not of this host."""
_OF_THE_SERVER = 64 << 20
"""Bytes a server writes beside the restored files: its redo log and temporary tablespace."""
_FAULTS = 20
"""Broken tables that are named."""


def restore_proofs(examination: Examination) -> Iterator[Proof]:
    """A proof of each link that is to be proven, until one is broken.

    Raises RejectedError (`verification_unsupported`, `identity_missing`, `identity_wrong`), EngineError
    (`engine_missing`, `engine_version`, `private_server_failed`), TargetError, and what the store raises.
    """
    chain, verifying = examination.chain, examination.services.verifying
    _check_possible(examination)
    with scratch(examination.scratch, chain.tip.instance_id, chain.tip.id) as target:
        user = server_user(examination.scratch)
        give_to_server(target, target.base, user)
        verifying.servers.check_reach(target.base, user)
        copies = 2 if examination.each and len(chain) > 1 else 1
        target.check_space(copies * bytes_needed(chain, prepare=True) + _OF_THE_SERVER)
        yield from _Trial(examination, target, user).proofs()


def _check_possible(examination: Examination) -> None:
    chain, services = examination.chain, examination.services
    check_engine(chain, services)
    for link in chain:
        fitting(link, examination.identities)
    if chain.tip.engine.datastore != "mariadb":
        raise RejectedError(
            ErrorCode.VERIFICATION_UNSUPPORTED,
            f"backup {chain.tip.id} is of a {chain.tip.engine.datastore} server; no private one is started of those",
            "Verify it with --level digest, or restore it and start a server by hand.",
        )
    if chain.tip.engine.data_at_rest_encryption and not services.verifying.servers.reads_keys:
        raise RejectedError(
            ErrorCode.VERIFICATION_UNSUPPORTED,
            f"the data of backup {chain.tip.id} is encrypted at rest, and the private server knows no keys",
            "Set verify.include to an option file with the key plugin's settings; or verify with --level digest.",
        )
    version = services.verifying.servers.version()
    if series(version) != series(chain.tip.engine.server_version):
        raise EngineError(
            ErrorCode.ENGINE_VERSION,
            f"backup {chain.tip.id} is of a server {chain.tip.engine.server_version}, here is {version}",
            f"Set verify.server_binary to a server of the series {series(chain.tip.engine.server_version)}.",
        )


class _Trial:
    def __init__(self, examination: Examination, target: RestoreTarget, user: User | None) -> None:
        self._examination = examination
        self._services = examination.services
        self._cancellation = examination.cancellation
        self._target = target
        self._user = user
        self._fetch = self._prepare = 0.0
        self._stored = self._raw = 0

    def proofs(self) -> Iterator[Proof]:
        examination = self._examination
        restoration = Restoration(
            examination.chain,
            examination.identities,
            examination.catalogue,
            self._services,
            self._cancellation,
            on_progress=examination.on_progress,
        )
        for number in range(len(examination.chain)):
            try:
                self._advance(restoration, number)
            except (IntegrityError, EngineError) as error:
                yield self._broken(number, self._verdict(error))
                return
            if examination.concerns(number):
                yield self._try_out(number)

    def _advance(self, restoration: Restoration, number: int) -> None:
        link, last = self._examination.chain.links[number].manifest, number == len(self._examination.chain) - 1
        began = self._now()
        directory = restoration.extract(self._target, number)
        fetched = self._now()
        restoration.prepare(self._target, directory, number, last=last)
        self._fetch += fetched - began
        self._prepare += self._now() - fetched
        self._stored += link.totals.stored_size
        self._raw += link.totals.raw_size

    def _try_out(self, number: int) -> Proof:
        served = Served()
        with self._startable(number) as datadir:
            self._tell("starting a server on the restored files")
            try:
                Serving(self._services, self._cancellation, self._examination.on_progress).run(
                    datadir, self._user, served
                )
            except (EngineError, InstanceError) as error:
                served.faults.append(self._verdict(error))
        return Proof(
            number,
            self._figures(served),
            tuple(served.faults[:_FAULTS]),
            tuple(served.unchecked[:_FAULTS]),
            served.server_version,
        )

    @contextmanager
    def _startable(self, number: int) -> Iterator[Path]:
        """Files that a server may change."""
        datadir, more = self._target.base, number < len(self._examination.chain) - 1
        if more:
            self._tell("copying the restored files")
            datadir = self._target.stage / "copy"
            with _usable(datadir):
                shutil.copytree(self._target.base, datadir, symlinks=True)
            self._services.engine.complete(datadir, cancellation=self._cancellation)
        with _usable(datadir):
            cut_off(datadir)
        give_to_server(self._target, datadir, self._user)
        yield datadir
        if more:
            self._target.remove(datadir)

    def _verdict(self, error: BackupAgentError) -> Fault:
        """What `error` says of the backup; raises what says nothing of it."""
        self._cancellation.check()
        if isinstance(error, IntegrityError):
            return fault(error)
        if error.code not in _OF_THE_FILES:
            raise error
        if is_full(self._target):
            raise TargetError(
                ErrorCode.NO_SPACE,
                f"{self._target.directory} has become full: {error.message}",
                "Free some space there, or choose another directory with --scratch.",
            ) from error
        return fault(error)

    def _broken(self, number: int, why: Fault) -> Proof:
        return Proof(number, self._figures(Served()), (why,), breaks_chain=True)

    def _figures(self, served: Served) -> Figures:
        seconds = Seconds(
            fetch=round(self._fetch, 3),
            prepare=round(self._prepare, 3),
            start=_rounded(served.start),
            check=_rounded(served.check),
        )
        return Figures(
            stored_bytes=self._stored,
            raw_bytes=self._raw,
            tables=len(served.checked),
            table_bytes=served.checked_bytes,
            seconds=seconds,
        )

    def _tell(self, step: str) -> None:
        total = sum(link.totals.raw_size for link in self._examination.chain)
        self._examination.on_progress(RestoreProgress(step, self._raw, total))

    def _now(self) -> float:
        return self._services.clock.monotonic()


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


@contextmanager
def _usable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(
            ErrorCode.TARGET_UNUSABLE, f"can't write into {directory}: {error}", "Check the file system, and its space."
        ) from error
