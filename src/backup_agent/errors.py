"""Every error an operator can see: a stable code, what happened, and what to do next.

The tree is shallow, and its classes say what the caller does with an error::

    BackupAgentError
     +-- ConfigError          mend the configuration, start again
     +-- RejectedError        the request can't be met as asked; nothing was begun
     |    +-- BusyError       the same request may succeed later; a queue keeps it until then
     |    +-- InUseError      the same request may succeed later; whoever asked is told no
     +-- InstanceError        the database host is not as it must be
     +-- EngineError          mariadb-backup (or xtrabackup) failed; the backup is FAILED
     |    +-- TakeAgainError  the same backup, taken again at once, may well succeed
     +-- StoreError           the store refused; trying again does not help
     |    +-- MissingError    no such object
     |    +-- TransientStoreError  trying again may help
     +-- IntegrityError       what was read back is not what was written
     +-- TargetError          the directory of a restore can't be used
     +-- VerificationError    a backup was verified, and can't be relied on
     +-- JournalError         the agent's own memory can't be read or written
     +-- BrokerError          the message broker refused for good, or for now
     +-- CatalogueError       the control plane's database can't be used
     +-- InterruptedByOperator   a signal or a cancel ended the work

Foreign exceptions (OSError, botocore, PyMySQL) are translated at the edge that meets them, with `raise ... from`.
Only `cli` maps the classes to exit statuses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self


class ErrorCode(StrEnum):
    """The stable codes. `meaning` feeds the reference in docs/reference/errors.md."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    CONFIG_INVALID = "config_invalid", "The configuration file is missing, not TOML, or has unknown or invalid keys."

    INVALID_REQUEST = "invalid_request", "The request itself is wrong: a name, an id or an option."
    INVALID_MESSAGE = "invalid_message", "The message is not a command this agent understands."
    WRONG_INSTANCE = "wrong_instance", "The command is for another instance or another account."
    BACKUP_NOT_FOUND = "backup_not_found", "The store holds no completed backup with this id."
    BACKUP_ID_IN_USE = "backup_id_in_use", "Another backup with this id exists already."
    BACKUP_IN_USE = "backup_in_use", "The backup, or one built on it, is being taken, restored, verified or deleted."
    BACKUP_HAS_DEPENDANTS = "backup_has_dependants", "Other backups are built on this one and can't be without it."
    BACKUP_PINNED = "backup_pinned", "The backup, or one built on it, is pinned: it is to stay."
    PARENT_NOT_FOUND = "parent_not_found", "The parent of the incremental is not in the store."
    PARENT_NOT_COMPLETED = "parent_not_completed", "The parent has chunks but no manifest: it failed or still runs."
    PARENT_FOREIGN = "parent_foreign", "The parent is a backup of another instance or account."
    NO_PARENT = "no_parent", "An incremental was asked for, but no backup has completed yet."
    LINEAGE_CHANGED = "lineage_changed", "The data directory is not the one the parent was taken from."
    LINEAGE_UNPROVEN = (
        "lineage_unproven",
        "The server was restarted since the parent, and no binary log proves its data.",
    )
    LSN_BEHIND_PARENT = "lsn_behind_parent", "The server's LSN is lower than the parent's."
    NONTRANSACTIONAL_REFUSED = "nontransactional_refused", "Tables would be write-locked and the policy is to refuse."
    GALERA_REFUSED = "galera_refused", "The instance is a Galera node and the configuration does not allow that."
    INSTANCE_BUSY = "instance_busy", "Another operation holds the lock of the instance."
    BACKUP_BUSY = "backup_busy", "The backup is being read (a verification) and was to be removed, or the reverse."

    DATABASE_UNREACHABLE = "database_unreachable", "The server did not accept a connection."
    DATABASE_DENIED = "database_denied", "The server refused the user or the password."
    GRANT_MISSING = "grant_missing", "The database user lacks a privilege the backup needs."
    DATADIR_UNREADABLE = "datadir_unreadable", "The data directory can't be read by this user, or is not on this host."
    LOCK_UNUSABLE = "lock_unusable", "The lock file can't be made or locked."
    LOCK_LOST = "lock_lost", "The lock file was removed or replaced while it was held."

    ADMINISTRATION_UNAVAILABLE = (
        "administration_unavailable",
        "Operations on the instance, or this one, are not enabled here.",
    )
    NAME_REFUSED = "name_refused", "A name, host, password, character set or collation is not allowed."
    DATABASE_EXISTS = "database_exists", "There is a database of this name."
    DATABASE_NOT_FOUND = "database_not_found", "There is no database of this name."
    USER_EXISTS = "user_exists", "There is a user of this name and host."
    USER_NOT_FOUND = "user_not_found", "There is no user of this name and host."
    STATEMENT_FAILED = "statement_failed", "The server refused a statement of an operation on the instance."
    POWER_FAILED = "power_failed", "The server was not restarted or stopped as asked, within the time allowed."

    ENGINE_MISSING = "engine_missing", "The backup engine's binary is not installed or can't be run."
    ENGINE_VERSION = "engine_version", "The engine's version does not fit the server's or the backup's."
    ENGINE_FAILED = "engine_failed", "The engine ended without success; its last lines are in the message."
    ENGINE_REDO_OVERWRITTEN = "engine_redo_overwritten", "The redo log was overwritten before the engine had copied it."
    ENGINE_CONNECTION_LINGERS = "engine_connection_lingers", "The killed engine's connection stays in the server."
    DDL_DURING_BACKUP = "ddl_during_backup", "DDL met the backup: the engine gave up, or its copies can't be trusted."
    STREAM_NOT_EXTRACTABLE = "stream_not_extractable", "The engine said OK, but its stream could not be extracted."
    ENGINE_STALLED = "engine_stalled", "The engine, or this agent, stood still while tables were locked; it was killed."
    LOCK_BUDGET_EXCEEDED = "lock_budget_exceeded", "Tables were locked for longer than locks.max_lock_seconds allows."
    LOCK_BLOCKED = "lock_blocked", "Statements of others kept the backup from its locks for longer than allowed."
    SPOOL_UNUSABLE = "spool_unusable", "The spool's directory can't be made or written."
    SPOOL_FAILED = "spool_failed", "What was written to the spool could not be read back."
    LSN_MISMATCH = "lsn_mismatch", "The LSNs the engine reports do not continue the parent's."
    EXTRACT_FAILED = "extract_failed", "mbstream could not write the files, or wrote others than the manifest lists."
    PREPARE_FAILED = "prepare_failed", "The engine could not prepare the restored files."
    PRIVATE_SERVER_FAILED = (
        "private_server_failed",
        "The private server of a verification could not be run, for reasons that say nothing of the backup.",
    )
    RESTORED_UNUSABLE = "restored_unusable", "No server starts, or goes on, on the restored files of a verification."
    TABLE_CORRUPT = "table_corrupt", "CHECK TABLE found fault with a restored table."
    VERIFICATION_FAILED = "verification_failed", "The backup was verified and can't be relied on; the message says why."
    VERIFICATION_UNSUPPORTED = (
        "verification_unsupported",
        "This backup can't be restored and served here for its verification, for lack of keys, or of its kind.",
    )

    STORE_URL = "store_url", "The store's URL is of no known kind or lacks a part."
    STORE_UNREACHABLE = "store_unreachable", "The store did not answer, or answered that it can't now."
    STORE_DENIED = "store_denied", "The store refused the credentials or the operation."
    STORE_FULL = "store_full", "The store has no room left, or a quota is reached."
    STORE_MISSING = "store_missing", "The container or bucket does not exist and may not be made."
    OBJECT_MISSING = "object_missing", "The store has no object of this name."
    OBJECT_EXISTS = "object_exists", "The store holds another object under a name that is written once."
    OBJECT_LOCKED = "object_locked", "The store keeps the object until its retention ends (Object Lock)."
    OBJECT_ARCHIVED = (
        "object_archived",
        "The object lies in an archive and must be restored there before it can be read.",
    )
    STORE_FAILED = "store_failed", "The store answered with an error that is none of the above."

    MANIFEST_CORRUPT = "manifest_corrupt", "A manifest is not the one that was written."
    MANIFEST_FORMAT = "manifest_format", "A manifest was written by a newer version of this program."
    PARENT_CHANGED = "parent_changed", "The parent's manifest is not the one the incremental was made from."
    CHUNK_CORRUPT = "chunk_corrupt", "A stored chunk differs from its entry in the manifest."
    CHUNK_MISSING = "chunk_missing", "A chunk listed in the manifest is not in the store."
    BACKUP_REPLAYED = "backup_replayed", "A backup in the store is not the one this host took, but has its id."
    BACKUP_VANISHED = "backup_vanished", "A backup that this host took is not in the store, and nobody deleted it here."
    SIGNATURE_MISSING = "signature_missing", "A manifest has no signature, and signing.required asks for one."
    SIGNATURE_INVALID = "signature_invalid", "The signature of a manifest is not of this manifest: it was forged."
    SIGNATURE_UNKNOWN_KEY = "signature_unknown_key", "A manifest is signed with a key that this host does not trust."
    VERIFICATION_CORRUPT = (
        "verification_corrupt",
        "The stored result of a verification is not the one that was written.",
    )
    UPLOAD_CORRUPT = "upload_corrupt", "The store confirmed another digest than the one sent."

    JOURNAL_UNUSABLE = "journal_unusable", "The journal's file can't be made, read or written."
    JOURNAL_CORRUPT = "journal_corrupt", "The journal's file is damaged, or is another program's; it was set aside."
    JOURNAL_NEWER = "journal_newer", "The journal was written by a newer version of this program."

    BROKER_UNREACHABLE = "broker_unreachable", "No broker accepted a connection."
    BROKER_DENIED = "broker_denied", "The broker refused the user, the certificate or the operation."
    BROKER_TOPOLOGY = "broker_topology", "The broker's exchanges or queues are missing, or are not as they must be."
    BROKER_FAILED = "broker_failed", "The broker did not confirm a message."

    CATALOGUE_UNUSABLE = "catalogue_unusable", "The control plane's database can't be reached, read or written."
    CATALOGUE_OUTDATED = "catalogue_outdated", "The control plane's database must be upgraded first."
    CATALOGUE_NEWER = "catalogue_newer", "The control plane's database was made by a newer version of this program."
    INSTANCE_UNKNOWN = "instance_unknown", "No instance of this id is registered with the control plane."
    TOKEN_UNKNOWN = "token_unknown", "There is no token of this id."
    EXTRA_MISSING = "extra_missing", "A part of this program is not installed."
    AGENT_LOST = "agent_lost", "Nothing was heard of the backup for too long. When its agent comes back, that counts."

    METRICS_UNUSABLE = "metrics_unusable", "The file of the metrics can't be written, or their port can't be had."

    COMMAND_EXPIRED = "command_expired", "The command came too late to be carried out: its `expires` has passed."
    CANCELLED = "cancelled", "The backup was cancelled by the one who asked for it."
    AGENT_NOT_RUNNING = "agent_not_running", "No agent works on the journal."

    IDENTITY_MISSING = "identity_missing", "The backup is encrypted, and no identity was given to read it."
    IDENTITY_WRONG = "identity_wrong", "The backup is encrypted for others than the identities that were given."
    IDENTITY_UNUSABLE = "identity_unusable", "A file of identities can't be read, or holds none."
    SIGNING_KEY_UNUSABLE = "signing_key_unusable", "The file of the signing key can't be read, or written."

    TARGET_NOT_EMPTY = "target_not_empty", "The directory to restore into holds files."
    TARGET_UNUSABLE = "target_unusable", "The directory to restore into can't be made or written."
    NO_SPACE = "no_space", "Too little free space for the restore."
    OWNER_UNKNOWN = "owner_unknown", "The owner asked for is not a user or group of this host, or can't be set."

    INTERRUPTED = "interrupted", "A signal or a cancel ended the operation; what it had stored was removed."
    OUTPUT_FAILED = "output_failed", "The operation ended well, but its result could not be printed."
    INTERNAL = "internal", "A fault of this program. Please report it."


class BackupAgentError(Exception):
    """An error with a stable `code`, a `message` saying what happened and a `hint` saying what to do.

    None of the three may contain a secret: they go to logs, events and terminals.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, code: ErrorCode, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def again(self) -> Self:
        """A new one of the same content: an exception raised twice keeps the frames of both, and what they hold."""
        return type(self)(self.code, self.message, self.hint)


class ConfigError(BackupAgentError):
    """The configuration can't be used. Permanent until it is mended."""

    exit_status = 3


class RejectedError(BackupAgentError):
    """The request can't be met as asked; nothing was begun and nothing was left behind."""

    exit_status = 4


class BusyError(RejectedError):
    """Somebody else holds the instance; the same request may succeed later."""

    exit_status = 5


class InUseError(RejectedError):
    """What the request is about is in use, and so it is refused; the same request may succeed later."""

    exit_status = BusyError.exit_status


class InstanceError(BackupAgentError):
    """The database server or its host is not as the operation needs it."""

    exit_status = 6


class EngineError(BackupAgentError):
    """The engine failed, or what it delivered was judged unusable."""

    exit_status = 7


class TakeAgainError(EngineError):
    """The backup failed by a passing circumstance (DDL): taking it again may well succeed."""


class StoreError(BackupAgentError):
    """The store refused for good."""

    exit_status = 8


class MissingError(StoreError):
    """The object asked for does not exist."""


class TransientStoreError(StoreError):
    """The store failed in a way that may pass: time-outs, resets, 5xx, throttling, a body that did not arrive whole.

    `retry_after_s` is how long the store itself asked to be left alone, in seconds.
    """

    def __init__(self, code: ErrorCode, message: str, hint: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(code, message, hint)
        self.retry_after_s = retry_after_s


class IntegrityError(BackupAgentError):
    """What was read back is not what was written. Nothing of it was used."""

    exit_status = 9


class TargetError(BackupAgentError):
    """The directory of a restore can't be used."""

    exit_status = 10


class JournalError(BackupAgentError):
    """The journal can't be read or written: the agent can't promise anything."""

    exit_status = 12


class BrokerError(BackupAgentError):
    """The message broker can't be reached, or refused; trying again later may help."""

    exit_status = 13


class VerificationError(BackupAgentError):
    """The backup can't be relied on: its bytes are not as stored, no server starts on it, or tables are broken."""

    exit_status = 14


class CatalogueError(BackupAgentError):
    """The control plane's database can't be reached or used."""

    exit_status = 20


class InterruptedByOperator(BackupAgentError):  # noqa: N818 - it is not a fault of anything
    """The operator (or the platform) ended the work."""

    exit_status = 11
