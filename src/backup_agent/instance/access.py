"""The server's directories, and what to say when something there can't be read: who owns it, who we are, and what to
change.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from backup_agent.errors import ErrorCode, InstanceError


def entries_of(directory: Path) -> Iterator[os.DirEntry[str]]:
    """None of a directory that is gone. Raises InstanceError (`datadir_unreadable`)."""
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except FileNotFoundError:  # dropped since it was listed
        return
    except OSError as error:
        raise unreadable(directory, error) from error


def unreadable(path: Path, error: OSError) -> InstanceError:
    """`datadir_unreadable` for a path that exists but can't be read by this user."""
    owner, group = _owner(path)
    return InstanceError(
        ErrorCode.DATADIR_UNREADABLE,
        f"{path} can't be read: {error.strerror}",
        f"Run the agent as the owner of the server's files, user {owner} and group {group} (User= and Group= in its "
        f"systemd unit); it runs as user {_user_name(os.geteuid())} and group {_group_name(os.getegid())}.",
    )


def elsewhere(datadir: Path, place: str) -> InstanceError:
    """`datadir_unreadable` for a data directory that is not on this host."""
    return InstanceError(
        ErrorCode.DATADIR_UNREADABLE,
        f"the data directory {datadir} of the server at {place} is not on this host",
        "Run the agent on the server's own host (in its container), and connect it to that server.",
    )


def _owner(path: Path) -> tuple[str, str]:
    """Of the nearest directory above that may be looked at, when the path itself may not."""
    for candidate in (path, *path.parents):
        try:
            status = candidate.stat()
        except OSError:  # the next one up is asked
            continue
        return _user_name(status.st_uid), _group_name(status.st_gid)
    return "unknown", "unknown"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
