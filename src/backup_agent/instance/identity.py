"""What tells one life of a data directory from another, read from the server's variables and files.

What is recorded and how it is compared is domain.lineage's.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from backup_agent.domain.lineage import Lineage, SystemTablespace
from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.access import unreadable
from backup_agent.instance.aria import CONTROL_FILE, read_uuid

RESTORE_ID_FILE = "backup_agent_restore_id"
"""In the data directory of a restored server: one line that no other restore has. Written at a restore's end."""
_RESTORE_ID_BYTES = 256
_LONG = struct.calcsize("l")
_FS_IOC_GETVERSION = 2 << 30 | _LONG << 16 | ord("v") << 8 | 1
"""_IOR('v', 1, long) of linux/fs.h."""


def read_lineage(datadir: Path, variables: Mapping[str, str], binlog_file: str | None) -> Lineage:
    """`variables` are the server's global ones. Raises InstanceError (`datadir_unreadable`)."""
    return Lineage(
        server_id=int(variables["server_id"]),
        aria_uuid=_aria_uuid(datadir, variables),
        server_uuid=variables.get("server_uuid"),
        system_tablespace=_identify(system_tablespace_files(datadir, variables)[0]),
        restore_id=_restore_id(datadir),
        binlog_file=binlog_file,
        gtid_binlog_state=_sorted(variables.get("gtid_binlog_state", "")),
    )


def system_tablespace_files(datadir: Path, variables: Mapping[str, str]) -> list[Path]:
    """The files of `@@innodb_data_file_path` (`ibdata1:12M;ibdata2:10M:autoextend`), at least one."""
    home = datadir / variables.get("innodb_data_home_dir", "")
    return [home / part.split(":")[0] for part in variables["innodb_data_file_path"].split(";")]


def _aria_uuid(datadir: Path, variables: Mapping[str, str]) -> str | None:
    if "aria_log_dir_path" not in variables:
        return None
    control_file = datadir / variables["aria_log_dir_path"] / CONTROL_FILE
    try:
        return read_uuid(control_file)
    except OSError as error:
        raise unreadable(control_file, error) from error


def _identify(file: Path) -> SystemTablespace:
    """Opened, not only looked at: a server whose files we may not read can't be backed up."""
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            filesystem = os.fstatvfs(opened.fileno()).f_fsid
            generation = _generation(opened.fileno())
    except OSError as error:
        raise unreadable(file, error) from error
    # Some file systems have no id; a device number may change with a reboot, which costs a full backup.
    name = f"{filesystem:x}" if filesystem else f"device-{status.st_dev:x}"
    return SystemTablespace(inode=status.st_ino, generation=generation, filesystem=name)


def _generation(descriptor: int) -> int | None:
    """Of the inode (FS_IOC_GETVERSION): ext4, XFS, Btrfs and ZFS know one; others answer with one of several errors."""
    try:
        answer = fcntl.ioctl(descriptor, _FS_IOC_GETVERSION, bytes(_LONG))
    except OSError:
        return None
    return int.from_bytes(answer[:4], sys.byteorder)


def _restore_id(datadir: Path) -> str | None:
    path = datadir / RESTORE_ID_FILE
    try:
        with path.open("rb") as file:
            content = file.read(_RESTORE_ID_BYTES)
        return content.decode("ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise InstanceError(
            ErrorCode.DATADIR_UNREADABLE,
            f"{path} does not hold the id of a restore",
            "Write any new line of ASCII text into it (uuidgen), and take a full backup.",
        ) from error


def _sorted(gtids: str) -> str:
    """Without the line breaks that SHOW may put in."""
    return ",".join(sorted(filter(None, (gtid.strip() for gtid in gtids.split(",")))))
