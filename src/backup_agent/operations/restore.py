"""Restores a backup into an empty directory: the whole chain fetched, verified, extracted and prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.chain import Chain
from backup_agent.domain.manifest import Manifest
from backup_agent.engine.interface import series
from backup_agent.errors import BackupAgentError, EngineError, ErrorCode, TargetError
from backup_agent.instance.identity import RESTORE_ID_FILE
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.services import Services
from backup_agent.operations.target import RestoreTarget
from backup_agent.operations.tree import files_in
from backup_agent.stream.download import read_stream
from backup_agent.stream.identity import Identity, fitting

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """`owner` is a user and a group id for the restored files; None leaves them to the user who restores."""

    backup_id: str
    target: Path
    prepare: bool = True
    force: bool = False
    owner: tuple[int, int] | None = None
    identities: tuple[Identity, ...] = ()
    """Of those for whom the backups of the chain are encrypted."""


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """`step` says what is being done; the bytes are of the raw streams of the whole chain."""

    step: str
    bytes_done: int
    bytes_total: int


def restore(
    request: RestoreRequest,
    services: Services,
    cancellation: Cancellation,
    on_progress: Callable[[RestoreProgress], None],
) -> dict[str, Any]:
    """What was restored, and where replication can go on from.

    Raises BackupAgentError; the directory is then empty. When this process is killed instead, the directory is marked
    so that no server starts on it.
    """
    catalogue = Catalogue(services.connect_store(cancellation, None), services.container, services.trust)
    tip = catalogue.find(request.backup_id, services.policy.instance_id)
    with services.lock("restore", tip.manifest.id, cancellation):
        chain = catalogue.chain(tip)
        check_engine(chain, services)
        for link in chain:
            fitting(link, request.identities)
        restoration = Restoration(chain, request.identities, catalogue, services, cancellation, on_progress=on_progress)
        target = RestoreTarget.claim(request.target, force=request.force, backup_id=tip.manifest.id)
        try:
            if request.owner is not None:
                target.check_owner(request.owner)
            target.check_space(bytes_needed(chain, prepare=request.prepare))
            with target.filled():
                restoration.run(target, prepare=request.prepare)
            cancellation.check()
            if request.prepare:
                target.hand_over(RESTORE_ID_FILE, request.owner)
            else:
                target.hand_over_unprepared(request.owner)
        except BaseException as error:
            _discard(target, error)
            cancellation.check()
            raise
        finally:
            target.release()
    return _result(chain, request)


class Restoration:
    """The links of a chain, one after the other, into the stage of a target."""

    def __init__(
        self,
        chain: Chain,
        identities: tuple[Identity, ...],
        catalogue: Catalogue,
        services: Services,
        cancellation: Cancellation,
        *,
        on_progress: Callable[[RestoreProgress], None],
    ) -> None:
        """`identities` are those that the encrypted backups of the chain need."""
        self._chain = chain
        self._identities = identities
        self._catalogue = catalogue
        self._services = services
        self._cancellation = cancellation
        self._on_progress = on_progress
        self._links = tuple(chain)
        self._done = 0
        self._total = sum(link.totals.raw_size for link in chain)

    def run(self, target: RestoreTarget, *, prepare: bool) -> None:
        last = len(self._chain) - 1
        for number in range(len(self._chain)):
            directory = self.extract(target, number)
            if prepare:
                self.prepare(target, directory, number, last=number == last)

    def extract(self, target: RestoreTarget, number: int) -> Path:
        """Where the files of link `number` now are, counted from the base, which is 0."""
        manifest = self._links[number]
        directory = target.incremental(number) if number else target.base
        place = self._catalogue.place(manifest.instance_id, manifest.id)
        with self._services.engine.extract(directory) as extraction:
            self._cancellation.on_cancel(extraction.kill)
            store, settings = self._catalogue.store, self._services.stream
            for piece in read_stream(store, place, manifest, settings, self._identities):
                self._cancellation.check()
                extraction.write(piece)
                self._done += len(piece)
                self._tell(f"extracting link {number + 1} of {len(self._chain)}")
            extraction.finish()
        self._cancellation.check()
        _check_files(manifest, directory)
        return directory

    def prepare(self, target: RestoreTarget, directory: Path, number: int, *, last: bool) -> None:
        """Brings the base forward by link `number`, which is then removed; `last` as the engine has it."""
        self._tell(f"preparing link {number + 1} of {len(self._chain)}")
        incremental = directory if number else None
        self._services.engine.prepare(target.base, incremental, last=last, cancellation=self._cancellation)
        if number:
            target.remove(directory)

    def _tell(self, step: str) -> None:
        self._on_progress(RestoreProgress(step, self._done, self._total))


def check_engine(chain: Chain, services: Services) -> None:
    """Raises EngineError (`engine_version`, `engine_missing`)."""
    version = services.engine.version()
    for link in chain:
        if (version.name, version.series) != (link.engine.name, series(link.engine.version)):
            raise EngineError(
                ErrorCode.ENGINE_VERSION,
                f"backup {link.id} was taken with {link.engine.name} {link.engine.version}, "
                f"here is {version.name} {version.version}",
                f"Install {link.engine.name} of the series {series(link.engine.version)} to restore it.",
            )


def bytes_needed(chain: Chain, *, prepare: bool) -> int:
    """With prepare the incrementals are there one at a time, and each can grow the base by its own size."""
    incrementals = [link.files_size for link in chain.incrementals]
    extra = max(incrementals, default=0) if prepare else 0
    return chain.base.files_size + sum(incrementals) + extra


def _check_files(manifest: Manifest, directory: Path) -> None:
    expected = {file.path: file.size for file in manifest.files}
    try:
        found = files_in(directory)
    except OSError as error:
        raise TargetError(
            ErrorCode.TARGET_UNUSABLE, f"can't read back {directory}: {error}", "Check the file system."
        ) from error
    if found != expected:
        wrong = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
        raise EngineError(
            ErrorCode.EXTRACT_FAILED,
            f"backup {manifest.id} was extracted to other files than its manifest lists: {', '.join(wrong[:5])}",
            "The file system may be full or faulty; restore again, or restore an earlier backup.",
        )


def _discard(target: RestoreTarget, error: BaseException) -> None:
    try:
        target.discard()
    except BackupAgentError as remains:
        log.error(  # noqa: TRY400 - the message says it all, and the first error is raised
            "the remains of the restore could not be removed", reason=remains.message, after=repr(error)
        )


def _result(chain: Chain, request: RestoreRequest) -> dict[str, Any]:
    tip = chain.tip
    return {
        "backup_id": tip.id,
        "target_dir": str(request.target),
        "prepared": request.prepare,
        "chain": [link.id for link in chain],
        "raw_size": sum(link.totals.raw_size for link in chain),
        "binlog": tip.binlog.model_dump() if tip.binlog else None,
        "replication_source": tip.replication_source,
        "data_at_rest_encryption": tip.engine.data_at_rest_encryption,
    }
