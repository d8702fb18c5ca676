"""One attempt at a backup: the engine runs, its stream is judged and stored, and its end is judged. No manifest yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.lineage import Lineage
from backup_agent.domain.manifest import File, LsnRange, SealedManifest
from backup_agent.engine.interface import BackupPlan, EngineReport, EngineRun
from backup_agent.errors import BackupAgentError, EngineError, ErrorCode, InterruptedByOperator
from backup_agent.instance.interface import Facts
from backup_agent.instance.process import process_id
from backup_agent.operations.blocking import Blockers
from backup_agent.operations.lock_watch import LockWatch
from backup_agent.operations.services import BackupServices
from backup_agent.operations.table_watch import TableWatch
from backup_agent.operations.telling import Teller
from backup_agent.stream.mbstream import StreamParser
from backup_agent.stream.spool import Spool
from backup_agent.stream.spool_bounds import SpoolBounds
from backup_agent.stream.upload import Upload, Uploaded

log = structlog.get_logger(__name__)

_CONNECTION_GONE_WITHIN = 10.0
"""Seconds. After SIGKILL the locks were free within 0.01 s, or 0.75 s while the engine waited (design, section 6)."""
_SOURCE_FILES = frozenset({"xtrabackup_slave_info", "mariadb_backup_slave_info"})


@dataclass(frozen=True, slots=True)
class Taken:
    """A stream in the store, judged whole and extractable."""

    report: EngineReport
    uploaded: Uploaded
    files: tuple[File, ...]
    replication_source: str | None
    lineage: Lineage
    binlog_digest: str | None
    newest_tablespace: int


def take(
    services: BackupServices,
    place: BackupPlace,
    *,
    facts: Facts,
    parent: SealedManifest | None,
    room: SpoolBounds,
    teller: Teller,
    cancellation: Cancellation,
) -> Taken:
    """Raises what the engine, the stream, the store or the cancellation raise; chunks may then be in the store."""
    plan = BackupPlan(
        datadir=facts.datadir,
        incremental_lsn=parent.manifest.lsn.to_lsn if parent else None,
        replica=facts.replica,
        galera=facts.galera,
        hold=True,
    )
    blockers = Blockers(services.instance, facts.datadir, services.locks.on_blocker)
    blockers.await_none(services.locks.blocker_wait, services.clock, cancellation, teller.warn)
    ours = services.instance.connections()
    try:
        taken = _Attempt(
            services,
            place,
            plan,
            tables=TableWatch(services.instance, facts, parent.manifest if parent else None),
            blockers=blockers,
            teller=teller,
            cancellation=cancellation,
        ).stream(room)
    except BaseException:
        _await_release(services, ours)
        cancellation.check()
        raise
    cancellation.check()
    _check_lsns(taken.report.lsn, parent)
    return taken


class _Attempt:
    def __init__(
        self,
        services: BackupServices,
        place: BackupPlace,
        plan: BackupPlan,
        *,
        tables: TableWatch,
        blockers: Blockers,
        teller: Teller,
        cancellation: Cancellation,
    ) -> None:
        self._services = services
        self._place = place
        self._plan = plan
        self._blockers = blockers
        self._teller = teller
        self._cancellation = cancellation
        self._tables = tables
        self._told_of_pressure = False

    def stream(self, room: SpoolBounds) -> Taken:
        services = self._services
        parser = StreamParser(capture=_SOURCE_FILES)
        starting = services.engine.start(self._plan)
        self._tables.follow(starting)
        veiled = services.stream.encryption is not None
        with starting as run, Spool(services.spool.directory, room, veiled=veiled) as spool:
            self._note_engine(run)
            uploaded = self._upload(run, spool, parser)
            report = run.finish()
        files = parser.finish()
        warning = self._tables.judge(parser, files)
        if warning is not None:
            self._teller.warn(warning)
        afterwards = services.instance.facts()
        return Taken(
            report=report,
            uploaded=uploaded,
            files=files,
            replication_source=_source(parser.captured),
            lineage=afterwards.lineage,
            binlog_digest=services.instance.binlog_digest(report.binlog) if report.binlog else None,
            newest_tablespace=afterwards.newest_tablespace,
        )

    def _note_engine(self, run: EngineRun) -> None:
        """For whoever has to clean up after us."""
        engine = process_id(run.pid)
        if engine is not None:
            with self._services.journal.transaction() as transaction:
                transaction.engine_started(self._place.backup_id, engine)

    def _upload(self, run: EngineRun, spool: Spool, parser: StreamParser) -> Uploaded:
        services = self._services
        transfers = Cancellation()

        def stop() -> None:
            run.kill()
            transfers.cancel(
                InterruptedByOperator(ErrorCode.INTERRUPTED, "the upload was stopped", "See the error that stopped it.")
            )

        upload = Upload(
            services.connect_store(transfers, None),
            self._place,
            services.stream,
            spool,
            locked=lambda: run.locked_since is not None,
            on_failure=stop,
        )
        watch = LockWatch(
            run,
            self._blockers,
            services.locks,
            services.clock,
            reader=lambda: upload.doing,
            make_room=upload.make_room,
            abort=upload.abort,
        )
        self._cancellation.on_cancel(stop)
        with watch:
            return upload.run(run.stdout, parser, lambda: self._tick(run, upload))

    def _tick(self, run: EngineRun, upload: Upload) -> None:
        self._cancellation.check()
        for notice in self._blockers.notices():
            self._teller.warn(notice)
        if upload.held_up is not None and not self._told_of_pressure:
            self._told_of_pressure = True
            self._teller.warn(upload.held_up)
        self._teller.progress(run.phase, upload.bytes_read, upload.bytes_stored)


def _source(captured: Mapping[str, bytes]) -> str | None:
    for content in captured.values():
        return content.decode("utf-8", "replace").strip() or None
    return None


def _check_lsns(lsn: LsnRange, parent: SealedManifest | None) -> None:
    expected = parent.manifest.lsn.to_lsn if parent else 0
    if lsn.from_lsn != expected or not lsn.from_lsn <= lsn.to_lsn <= lsn.last_lsn:
        raise EngineError(
            ErrorCode.LSN_MISMATCH,
            f"the engine reports LSNs from {lsn.from_lsn} to {lsn.to_lsn} (last {lsn.last_lsn}); "
            f"the backup should start at {expected}",
            "Take a full backup, and report this with the engine's version.",
        )


def _await_release(services: BackupServices, before: frozenset[int]) -> None:
    """Sees to it that the killed engine's connections, and with them its locks, have left the server."""
    give_up = services.clock.monotonic() + _CONNECTION_GONE_WITHIN
    try:
        while lingering := services.instance.connections() - before:
            if services.clock.monotonic() > give_up:
                log.error("engine connection lingers", code=ErrorCode.ENGINE_CONNECTION_LINGERS, ids=sorted(lingering))
                return
            services.clock.sleep(0.02)
    except BackupAgentError as error:
        log.warning("can't confirm that the engine's locks are gone", code=error.code, reason=error.message)
