"""What became of a verification: a small object beside the backup it is about, which is never rewritten.

Canonical JSON with the SHA-256 of its own payload inside, like a manifest. It names the manifest it is about by its
checksum. That catches corruption; who can write to the store can forge it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, ValidationError

from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import BackupId, InstanceId
from backup_agent.domain.manifest import Sha256, Timestamp
from backup_agent.errors import ErrorCode, IntegrityError

FORMAT: Literal[1] = 1


class Level(StrEnum):
    DIGEST = "digest"
    """Every byte of the chain is read from the store and compared with its digests."""
    RESTORE = "restore"
    """The chain is restored, a server is started on it, and every table is checked."""


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"


class Seconds(Frozen):
    """How long each step took; None for one that did not come, or did not end."""

    fetch: NonNegativeFloat | None = None
    """From the store, verified, and at level `restore` extracted."""
    prepare: NonNegativeFloat | None = None
    start: NonNegativeFloat | None = None
    """Until the server takes connections."""
    check: NonNegativeFloat | None = None

    @property
    def to_serve(self) -> float | None:
        """What a restore takes until the database is there again, on this host and at this priority."""
        if self.fetch is None or self.prepare is None or self.start is None:
            return None
        return round(self.fetch + self.prepare + self.start, 3)


class Figures(Frozen):
    """Bytes of the whole chain. The tables are those checked, and their bytes as the server counts them."""

    stored_bytes: NonNegativeInt = 0
    raw_bytes: NonNegativeInt | None = None
    """None: the chunks could not be opened for lack of keys, and only what is stored was compared."""
    tables: NonNegativeInt | None = None
    table_bytes: NonNegativeInt | None = None
    seconds: Seconds = Seconds()


class Fault(Frozen):
    """Why a verification failed: a stable code, and what happened."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is remembered of a verification where it was made, for those who watch over that."""

    level: Level
    result: Outcome
    backup_id: str
    time: datetime
    """When it ended."""
    seconds_to_serve: float | None
    """As in `Seconds`."""

    @property
    def passed(self) -> bool:
        return self.result is Outcome.PASSED


class Verification(Frozen):
    format: Literal[1] = FORMAT
    backup_id: BackupId
    instance_id: InstanceId
    manifest_sha256: Sha256
    level: Level
    result: Outcome
    time: Timestamp
    """When it ended."""
    agent_version: str
    engine_version: str | None = None
    server_version: str | None = None
    """Of the private server."""
    chain: tuple[BackupId, ...] = ()
    """Base first; empty when the chain itself is broken."""
    figures: Figures = Figures()
    unchecked: tuple[str, ...] = ()
    """Tables that the private server could not look at, and why."""
    faults: tuple[Fault, ...] = ()
    """The first ones; none when it passed."""

    @property
    def passed(self) -> bool:
        return self.result is Outcome.PASSED

    @property
    def verdict(self) -> Verdict:
        time = datetime.fromisoformat(self.time)
        return Verdict(self.level, self.result, self.backup_id, time, self.figures.seconds.to_serve)

    def summary(self) -> dict[str, Any]:
        """What others are told of it, beside the backup."""
        return {
            "result": self.result.value,
            "level": self.level.value,
            "time": self.time,
            "chain": list(self.chain),
            **self.figures.model_dump(mode="json", exclude={"seconds"}),
            "seconds": {**self.figures.seconds.model_dump(), "to_serve": self.figures.seconds.to_serve},
            "unchecked": list(self.unchecked),
            "engine_version": self.engine_version,
            "server_version": self.server_version,
            "agent_version": self.agent_version,
            "faults": [fault.model_dump() for fault in self.faults],
        }


def encode(verification: Verification) -> bytes:
    payload = verification.model_dump(mode="json")
    return _canonical({"payload": payload, "sha256": hashlib.sha256(_canonical(payload)).hexdigest()})


def decode(data: bytes, *, backup_id: str) -> Verification:
    """Raises IntegrityError (`verification_corrupt`) for any byte that is not as written, and for another backup's."""
    try:
        document = json.loads(data)
        payload = document["payload"]
        whole = _canonical(document) == data and set(document) == {"payload", "sha256"}
        if not whole or hashlib.sha256(_canonical(payload)).hexdigest() != document["sha256"]:
            raise _corrupt(backup_id, "its digest does not match its content")
        found = Verification.model_validate_json(_canonical(payload))
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
        raise _corrupt(backup_id, "it is not what this program writes") from error
    if found.backup_id != backup_id:
        raise _corrupt(backup_id, f"it is that of backup {found.backup_id}")
    return found


def _canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _corrupt(backup_id: str, why: str) -> IntegrityError:
    return IntegrityError(
        ErrorCode.VERIFICATION_CORRUPT,
        f"the result of a verification of backup {backup_id} can't be trusted: {why}",
        "Verify the backup again.",
    )
