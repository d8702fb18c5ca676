"""Users who list and create, from a process of their own: each request has its moment, and waits are counted from that.

So an answer that comes late makes those after it late, too, instead of being one slow answer among many.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from backup_agent.api.catalogue.reading import Place
from backup_agent.api.paging import marker_of
from bench.api.results import CREATE, LIST, Waits, waits_of
from tests.agent import ACCOUNT

LISTS_PER_S = 60
CREATES_PER_S = 20
_THREADS = 8
"""Of each kind, each with a connection that is kept."""
_WARM_S = 2.0
"""At most, and no longer than what is counted."""
_SOON_S = 0.2
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of whom."""

    url: str
    token: str
    waiting: Sequence[str]
    """Instances that creates are asked for, in turn."""
    middle: Place
    """Somewhere in the catalogue."""


def ask(asking: Asking, seconds: float) -> tuple[tuple[Waits, ...], float]:
    """Asks for so long, after a time that is not counted; also the CPU seconds that the users themselves have taken.
    Raises RuntimeError when the users' process ends early.
    """
    here, there = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_ask, args=(asking, seconds, there), name="users", daemon=True)
    process.start()
    there.close()
    try:
        found: tuple[tuple[Waits, ...], float] = here.recv()
    except EOFError as error:
        raise RuntimeError("the users' process ended before its time") from error
    finally:
        process.join(10)
    return found


@dataclass(frozen=True, slots=True)
class _Plan:
    asking: Asking
    begin: float
    seconds: float

    @property
    def warm(self) -> float:
        return min(_WARM_S, self.seconds)


@dataclass(slots=True)
class _Seen:
    waits: list[float]
    refused: int = 0


def _ask(asking: Asking, seconds: float, answer: Connection) -> None:
    plan = _Plan(asking, time.monotonic() + _SOON_S, seconds)
    lists, creates = tuple(_lists(asking)), (CREATE,)
    seen = {kind: _Seen([]) for kind in (*lists, *creates)}
    threads = [
        threading.Thread(target=_one, args=(plan, number, kinds, rate, seen))
        for kinds, rate in ((lists, LISTS_PER_S), (creates, CREATES_PER_S))
        for number in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits = tuple(waits_of(kind, found.waits, found.refused) for kind, found in seen.items())
    answer.send((waits, time.process_time()))


def _lists(asking: Asking) -> dict[str, str]:
    """By kind, the path."""
    root, middle = f"/v1.0/{ACCOUNT}", asking.middle
    return {
        f"{LIST}, the newest": f"{root}/backups",
        f"{LIST}, from the middle": f"{root}/backups?marker={marker_of(middle.created, middle.id)}",
        f"{LIST}, of an instance": f"{root}/instances/{asking.waiting[0]}/backups",
    }


def _one(plan: _Plan, number: int, kinds: Sequence[str], rate: float, seen: dict[str, _Seen]) -> None:
    """One user: every so many seconds, a request of the next kind."""
    asking = plan.asking
    where = urlsplit(asking.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    paths = _lists(asking)
    for turn in range(number, int((plan.warm + plan.seconds) * rate), _THREADS):
        due = plan.begin + turn / rate
        time.sleep(max(0.0, due - time.monotonic()))
        kind = kinds[turn % len(kinds)]
        good = _create(connection, asking, turn) if kind == CREATE else _get(connection, asking, paths[kind])
        waited = time.monotonic() - due
        if not good:
            seen[kind].refused += 1
        elif turn / rate >= plan.warm:
            seen[kind].waits.append(waited)
    connection.close()


def _get(connection: http.client.HTTPConnection, asking: Asking, path: str) -> bool:
    connection.request("GET", path, headers={"X-Auth-Token": asking.token})
    answer = connection.getresponse()
    return answer.status == 200 and bool(json.loads(answer.read())["backups"])  # noqa: PLR2004 - as HTTP has it


def _create(connection: http.client.HTTPConnection, asking: Asking, turn: int) -> bool:
    instance_id = asking.waiting[turn % len(asking.waiting)]
    body = json.dumps({"backup": {"name": f"snapshot {turn}", "instance": instance_id, "incremental": 0}})
    headers = {"X-Auth-Token": asking.token, "Content-Type": "application/json"}
    connection.request("POST", f"/v1.0/{ACCOUNT}/backups", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status == 202  # noqa: PLR2004 - the same
