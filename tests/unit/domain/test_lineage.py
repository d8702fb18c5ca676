"""What shows that a data directory is not the one of the parent."""

from __future__ import annotations

from typing import Any

import pytest

from backup_agent.domain.lineage import SystemTablespace, differences
from tests.unit.manifests import LINEAGE


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"binlog_file": "bin.000004"},
        {"binlog_file": "bin.1000000"},
        {"gtid_binlog_state": "0-1-11"},
        {"gtid_binlog_state": "0-1-10,0-2-1,5-1-1"},
        {"binlog_file": "bin.000010", "gtid_binlog_state": "0-1-100"},
    ],
)
def test_going_forward_is_the_same_lineage(changes: dict[str, Any]) -> None:
    assert differences(LINEAGE, LINEAGE.model_copy(update=changes)) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"server_id": 2}, "server_id was 1, is 2"),
        ({"aria_uuid": "f" * 32}, f"aria_log_control's UUID was {LINEAGE.aria_uuid}, is {'f' * 32}"),
        ({"aria_uuid": None}, f"aria_log_control's UUID was {LINEAGE.aria_uuid}, is None"),
        ({"server_uuid": "x"}, "server_uuid was None, is x"),
        ({"system_tablespace": SystemTablespace(inode=43, filesystem="abc")}, "ibdata1 is another file"),
        ({"system_tablespace": SystemTablespace(inode=42, filesystem="abd")}, "ibdata1 is another file"),
        ({"system_tablespace": SystemTablespace(inode=42, generation=1, filesystem="abc")}, "ibdata1 is another file"),
        ({"restore_id": "r"}, "the data directory was restored from a backup since"),
        ({"binlog_file": None}, "binary logging was on and is off"),
        ({"binlog_file": "other.000003"}, "the binary log was bin.000003, is other.000003"),
        ({"binlog_file": "bin.000002"}, "the binary log went back from bin.000003 to bin.000002"),
        ({"gtid_binlog_state": "0-1-9"}, "GTIDs of 0-1 that the parent knows are gone"),
        ({"gtid_binlog_state": ""}, "GTIDs of 0-1 that the parent knows are gone"),
        ({"gtid_binlog_state": "0-2-10"}, "GTIDs of 0-1 that the parent knows are gone"),
        ({"gtid_binlog_state": "1-1-10"}, "GTIDs of 0-1 that the parent knows are gone"),
    ],
)
def test_each_difference_is_told_in_words(changes: dict[str, Any], words: str) -> None:
    (told,) = differences(LINEAGE, LINEAGE.model_copy(update=changes))
    assert told.startswith(words)


def test_all_differences_are_told() -> None:
    changes = {"server_id": 2, "aria_uuid": None, "restore_id": "r", "binlog_file": None}
    assert len(differences(LINEAGE, LINEAGE.model_copy(update=changes))) == 4


def test_a_binary_log_that_begins_later_is_no_difference() -> None:
    without = LINEAGE.model_copy(update={"binlog_file": None, "gtid_binlog_state": ""})
    assert differences(without, LINEAGE) == ()
    assert differences(without, without) == ()
