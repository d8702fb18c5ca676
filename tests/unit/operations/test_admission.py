"""Who is let in, decided on facts that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from backup_agent.domain.command import BackupRequest
from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import BinlogPosition, SealedManifest
from backup_agent.engine.interface import EngineVersion
from backup_agent.errors import BackupAgentError, EngineError, ErrorCode, InstanceError, RejectedError
from backup_agent.instance.interface import Facts
from backup_agent.operations import admission
from backup_agent.operations.admission import MIB, Policy
from backup_agent.operations.continuity import check_continuity
from tests.unit.manifests import LINEAGE, manifest_of

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
PLACE = BackupPlace("c", INSTANCE, "61f12fef-edb1-4561-8122-e7c00ef26a82")
PARENT = SealedManifest(manifest_of(PLACE), "0" * 64)


def facts(**changes: Any) -> Facts:
    """Of the server that the parent was taken from, a little later."""
    before = PARENT.manifest
    values: dict[str, Any] = {
        "version": before.engine.server_version,
        "datastore": before.engine.datastore,
        "datadir": Path("/var/lib/mysql"),
        "lineage": before.lineage,
        "lsn": before.lsn.last_lsn,
        "replica": False,
        "galera": False,
        "data_at_rest_encryption": False,
        "nontransactional_bytes": 20 * MIB,
        "started": before.server_started,
        "datadir_bytes": 100 * MIB,
    }
    return Facts(**{**values, **changes})


def policy(nontransactional: Literal["allow", "warn", "refuse"] = "warn", *, galera: bool = False) -> Policy:
    return Policy(INSTANCE, "1234", nontransactional, 16 * MIB, allow_galera=galera, allow_unproven_lineage=False)


def code_of(error: BackupAgentError) -> ErrorCode:
    assert error.hint
    return error.code


def test_a_galera_node_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(RejectedError, match="the instance is a Galera node") as caught:
        admission.check_instance(facts(galera=True), policy("allow"))
    assert code_of(caught.value) is ErrorCode.GALERA_REFUSED
    assert "instance.allow_galera = true" in caught.value.hint
    assert admission.check_instance(facts(galera=True), policy("allow", galera=True)) is None


def test_the_policy_on_tables_that_would_be_write_locked() -> None:
    assert admission.check_instance(facts(), policy("allow")) is None
    assert str(admission.check_instance(facts(), policy("warn"))).startswith("20 MiB of non-transactional tables")
    with pytest.raises(RejectedError, match="20 MiB of non-transactional tables") as caught:
        admission.check_instance(facts(), policy("refuse"))
    assert code_of(caught.value) is ErrorCode.NONTRANSACTIONAL_REFUSED


@pytest.mark.parametrize("kind", ["warn", "refuse"])
def test_the_threshold_itself_is_still_allowed(kind: Literal["warn", "refuse"]) -> None:
    assert admission.check_instance(facts(nontransactional_bytes=16 * MIB), policy(kind)) is None


@pytest.mark.parametrize("changes", [{"instance_id": "0" * 8 + INSTANCE[8:]}, {"account_id": "4321"}])
def test_only_the_addressee_obeys(changes: dict[str, Any]) -> None:
    ours: dict[str, Any] = {"instance_id": INSTANCE, "account_id": "1234"}
    admission.check_addressee(BackupRequest(id=PLACE.backup_id, name="n", **ours), policy())
    with pytest.raises(RejectedError) as caught:
        admission.check_addressee(BackupRequest(id=PLACE.backup_id, name="n", **{**ours, **changes}), policy())
    assert code_of(caught.value) is ErrorCode.WRONG_INSTANCE


def test_missing_grants_are_all_named() -> None:
    admission.check_grants(())
    with pytest.raises(InstanceError, match="lacks RELOAD, BINLOG MONITOR") as caught:
        admission.check_grants(("RELOAD", "BINLOG MONITOR"))
    assert "GRANT RELOAD, BINLOG MONITOR ON" in caught.value.hint


@pytest.mark.parametrize("server", ["11.4.2-MariaDB", "10.6.1-MariaDB", "10.1.11-MariaDB"])
def test_an_engine_serves_its_own_series(server: str) -> None:
    engine = EngineVersion("mariadb-backup", "10.11.6-MariaDB")
    admission.check_engine(engine, "10.11.9-MariaDB-log")
    with pytest.raises(EngineError, match=r"of version 10\.11\.6") as caught:
        admission.check_engine(engine, server)
    assert code_of(caught.value) is ErrorCode.ENGINE_VERSION


def continuity(
    now: Facts, digest: str | None = None, *, parent: SealedManifest = PARENT, allowed: bool = False
) -> None:
    engine = EngineVersion(parent.manifest.engine.name, now.version)
    check_continuity(parent, now, engine, lambda _: digest, allow_unproven=allowed)


WITH_LOG = SealedManifest(
    PARENT.manifest.model_copy(
        update={"binlog": BinlogPosition(file="bin.000003", position=328, gtid=""), "binlog_digest": "a" * 64}
    ),
    "1" * 64,
)


def test_the_same_server_goes_on() -> None:
    continuity(facts())
    continuity(facts(lsn=PARENT.manifest.lsn.last_lsn + 1))
    continuity(facts(started=7), "a" * 64, parent=WITH_LOG)


def test_a_server_before_the_end_of_the_parent_is_refused() -> None:
    """Also between the parent's checkpoint and its end."""
    for lsn in (PARENT.manifest.lsn.last_lsn - 1, PARENT.manifest.lsn.to_lsn, 0):
        if lsn < PARENT.manifest.lsn.last_lsn:
            with pytest.raises(RejectedError, match=f"the server is at LSN {lsn}, before") as caught:
                continuity(facts(lsn=lsn))
            assert code_of(caught.value) is ErrorCode.LSN_BEHIND_PARENT


def test_other_files_or_another_log_are_refused_whatever_the_lsn() -> None:
    with pytest.raises(RejectedError, match="server_id was 1, is 2") as caught:
        continuity(facts(lineage=LINEAGE.model_copy(update={"server_id": 2}), lsn=1 << 60), allowed=True)
    assert code_of(caught.value) is ErrorCode.LINEAGE_CHANGED
    with pytest.raises(RejectedError, match=r"bin\.000003 is not the binary log that was written then") as caught:
        continuity(facts(lsn=1 << 60), "b" * 64, parent=WITH_LOG, allowed=True)
    assert code_of(caught.value) is ErrorCode.LINEAGE_CHANGED


@pytest.mark.parametrize("parent", [PARENT, WITH_LOG])
def test_a_restart_without_its_log_proves_nothing(parent: SealedManifest) -> None:
    with pytest.raises(RejectedError, match="nothing proves") as caught:
        continuity(facts(started=7), parent=parent)
    assert code_of(caught.value) is ErrorCode.LINEAGE_UNPROVEN
    assert "instance.allow_unproven_lineage" in caught.value.hint
    continuity(facts(started=7), parent=parent, allowed=True)


@pytest.mark.parametrize(
    "changes", [{"version": "11.4.2-MariaDB"}, {"version": "10.6.9-MariaDB"}, {"datastore": "mysql"}]
)
def test_a_chain_stays_within_one_series(changes: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="can't be prepared across versions") as caught:
        continuity(facts(**changes))
    assert code_of(caught.value) is ErrorCode.ENGINE_VERSION
