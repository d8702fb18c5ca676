from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.identity import RESTORE_ID_FILE, read_lineage, system_tablespace_files

UUID = bytes(range(16))


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ibdata1").write_bytes(b"pages")
    (tmp_path / "aria_log_control").write_bytes(b"\xfe\xfe\x0c\x01" + UUID + b"rest")
    return {
        "server_id": "7",
        "innodb_data_file_path": "ibdata1:12M:autoextend",
        "innodb_data_home_dir": "",
        "aria_log_dir_path": f"{tmp_path}/",
        "gtid_binlog_state": "1-7-5,0-7-9,\n0-2-3",
    }


def test_a_lineage_is_read_from_files_and_variables(tmp_path: Path, variables: dict[str, str]) -> None:
    lineage = read_lineage(tmp_path, variables, "binlog.000003")
    assert lineage.server_id == 7
    assert lineage.aria_uuid == UUID.hex()
    assert lineage.server_uuid is None
    assert lineage.system_tablespace.inode == (tmp_path / "ibdata1").stat().st_ino
    assert lineage.system_tablespace.filesystem not in {"", "0"}
    assert lineage.restore_id is None
    assert lineage.binlog_file == "binlog.000003"
    assert lineage.gtid_binlog_state == "0-2-3,0-7-9,1-7-5"


def test_the_id_of_a_restore_is_part_of_it(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / RESTORE_ID_FILE).write_text("6a2f\n")
    assert read_lineage(tmp_path, variables, None).restore_id == "6a2f"


def test_mysql_has_a_server_uuid_and_no_aria(tmp_path: Path, variables: dict[str, str]) -> None:
    del variables["aria_log_dir_path"]
    lineage = read_lineage(tmp_path, variables | {"server_uuid": "3e11fa47"}, None)
    assert (lineage.aria_uuid, lineage.server_uuid) == (None, "3e11fa47")


def test_a_system_tablespace_may_have_several_files_elsewhere() -> None:
    variables = {"innodb_data_file_path": "a:12M;b:10M:autoextend", "innodb_data_home_dir": "/disk/"}
    assert system_tablespace_files(Path("/data"), variables) == [Path("/disk/a"), Path("/disk/b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("aria_log_control", b"\xfe\xfe\x0c\x01short", "is not an Aria control file"),
        ("aria_log_control", b"\0" * 64, "is not an Aria control file"),
        (RESTORE_ID_FILE, b"\xff\xfe", "does not hold the id of a restore"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, variables: dict[str, str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InstanceError, match=message) as caught:
        read_lineage(tmp_path, variables, None)
    assert caught.value.code is ErrorCode.DATADIR_UNREADABLE
    assert name in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path, variables: dict[str, str]) -> None:
    (tmp_path / "ibdata1").unlink()
    with pytest.raises(InstanceError, match=r"ibdata1 can't be read: No such file or directory"):
        read_lineage(tmp_path, variables, None)


def test_a_file_made_anew_is_another_one_even_with_the_number_of_the_old(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    before = read_lineage(tmp_path, variables, None)
    content = (tmp_path / "ibdata1").read_bytes()
    (tmp_path / "ibdata1").unlink()
    (tmp_path / "ibdata1").write_bytes(content)  # ext4 gives it the number that has just become free
    assert read_lineage(tmp_path, variables, None).system_tablespace != before.system_tablespace
