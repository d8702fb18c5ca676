"""The files the engine leaves beside its stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.domain.manifest import BinlogPosition, LsnRange
from backup_agent.engine.reports import CHECKPOINTS, INFO, read_binlog, read_lsns
from backup_agent.errors import EngineError, ErrorCode

LSNS = "backup_type = incremental\nfrom_lsn = 44404\nto_lsn = 44404\nlast_lsn = 44760\nrecover_binlog_info = 0\n"
SAID = (
    "tool_name = mariadb-backup\ntool_command = --backup --x=y = z\nserver_version = 10.11.6-MariaDB\nbinlog_pos = {}\n"
)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_lsns_are_found_by_either_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(LSNS)
    assert read_lsns(tmp_path) == LsnRange(from_lsn=44404, to_lsn=44404, last_lsn=44760)


@pytest.mark.parametrize(
    "text", ["", LSNS.replace("to_lsn", "other"), LSNS.replace("44760", "soon"), LSNS[: LSNS.index("last_lsn")]]
)
def test_incomplete_lsns_are_no_success(tmp_path: Path, text: str) -> None:
    (tmp_path / CHECKPOINTS[0]).write_text(text)
    with pytest.raises(EngineError, match="the file with the LSNs is incomplete") as caught:
        read_lsns(tmp_path)
    assert caught.value.code is ErrorCode.ENGINE_FAILED


def test_absent_lsns_are_no_success(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="none of xtrabackup_checkpoints, mariadb_backup_checkpoints was written"):
        read_lsns(tmp_path)
    (tmp_path / CHECKPOINTS[0]).mkdir()
    with pytest.raises(EngineError, match="xtrabackup_checkpoints can't be read: Is a directory"):
        read_lsns(tmp_path)


@pytest.mark.parametrize("name", INFO)
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "filename 'binlog.000007', position '1585', GTID of the last change '0-1-7,1-2-9'",
            BinlogPosition(file="binlog.000007", position=1585, gtid="0-1-7,1-2-9"),
        ),
        ("filename 'b.000001', position '328'", BinlogPosition(file="b.000001", position=328, gtid="")),
        (
            "filename 'b.000001', position '328', GTID of the last change ''",
            BinlogPosition(file="b.000001", position=328, gtid=""),
        ),
        ("", None),
    ],
)
def test_the_binary_log_position_is_read(tmp_path: Path, name: str, said: str, expected: BinlogPosition | None) -> None:
    (tmp_path / name).write_text(SAID.format(said))
    assert read_binlog(tmp_path) == expected


def test_no_binary_log_is_no_position(tmp_path: Path) -> None:
    (tmp_path / INFO[0]).write_bytes(b"name = \xff\xfe\n")
    assert read_binlog(tmp_path) is None
