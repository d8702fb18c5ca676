"""The directory in which a verification restores and serves a backup, and of which nothing stays.

It is a restore's target whose files are never handed over: marked, so that no server starts on it by mistake, locked by
whoever works in it, and cleared of what a killed one has left.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from backup_agent import directories
from backup_agent.errors import BackupAgentError, ErrorCode, TargetError
from backup_agent.operations.target import RestoreTarget
from backup_agent.operations.tree import give

log = structlog.get_logger(__name__)

User = tuple[int, int]
_MODE = 0o700
_PASSABLE = 0o711
_FALLBACK = "mysql"
_NOT_WORTH_MENTIONING = 16 << 20
"""Bytes: less is free on a file system that something has just filled."""


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    """`user` is the name of whom the private server runs as when root verifies; None: see `server_user`."""

    directory: Path
    user: str | None


@contextmanager
def scratch(settings: ScratchSettings, instance_id: str, backup_id: str) -> Iterator[RestoreTarget]:
    """An empty target, removed again in any case.

    Raises TargetError (`target_not_empty` while another verification of the instance works there, `target_unusable`).
    """
    directory = settings.directory / f"verify-{instance_id}"
    try:
        directories.make(settings.directory, _PASSABLE)
        directories.make(directory, _MODE)
    except OSError as error:
        raise TargetError(
            ErrorCode.TARGET_UNUSABLE,
            f"can't make {directory}: {error.strerror}",
            "Choose another verify.scratch_dir, or --scratch, which this user can write.",
        ) from error
    target = RestoreTarget.claim(directory, force=True, backup_id=backup_id)
    try:
        yield target
    finally:
        _clear(target)


def server_user(settings: ScratchSettings) -> User | None:
    """Whom the private server is to run as: ourselves (None), but never root.

    Root takes the user of the configuration, else whom the scratch directory belongs to, else `mysql`. Raises
    TargetError (`owner_unknown`).
    """
    if os.geteuid() != 0:
        return None
    if settings.user is None:
        status = settings.directory.stat()
        if status.st_uid != 0:
            return status.st_uid, status.st_gid
    name = settings.user or _FALLBACK
    try:
        account = pwd.getpwnam(name)
    except KeyError as error:
        raise _unfit(f"there is no user {name}, as whom the private server could run") from error
    if account.pw_uid == 0:
        raise _unfit(f"the private server is not run as {name}")
    return account.pw_uid, account.pw_gid


def _unfit(why: str) -> TargetError:
    return TargetError(ErrorCode.OWNER_UNKNOWN, why, "Set verify.user to an unprivileged user of this host.")


def give_to_server(target: RestoreTarget, directory: Path, user: User | None) -> None:
    """`directory`, which lies in the target's stage, with everything in it. Raises TargetError."""
    if user is None:
        return
    try:
        target.directory.chmod(_PASSABLE)
        target.stage.chmod(_PASSABLE)
        give(directory, user)
    except OSError as error:
        raise TargetError(
            ErrorCode.TARGET_UNUSABLE, f"can't give {directory} to user {user[0]}: {error}", "Set verify.user."
        ) from error


def is_full(target: RestoreTarget) -> bool:
    """Whether what failed there may have failed for lack of space."""
    return shutil.disk_usage(target.directory).free < _NOT_WORTH_MENTIONING


def _clear(target: RestoreTarget) -> None:
    try:
        target.discard()
    except BackupAgentError as error:
        log.error(  # noqa: TRY400 - the message says it all, and what the verification found is not to be lost for it
            "the scratch directory could not be cleared; the next verification tries again", reason=error.message
        )
    finally:
        target.release()
