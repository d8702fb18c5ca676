"""What is done with one database: users beside the fleet, with few backups and with many; then a backlog of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select

from backup_agent.api.catalogue.database import Database
from backup_agent.api.catalogue.reading import Place
from backup_agent.api.catalogue.tables import backups
from backup_agent.broker.topology import EVENTS_QUEUE
from bench.api import catalogue
from bench.api.fleet import Fleet
from bench.api.results import Backlog, Measured, Watch
from bench.api.users import Asking, ask
from bench.phases import tell
from tests.api.service import Api
from tests.servers.mariadb import free_port
from tests.servers.rabbitmq import PrivateRabbitMQ

_PATIENCE_S = 600.0
_LOOK_S = 0.05
_HASTE = 1e9
"""Events a second: as many as can be."""
_OTHERS = "others"
_PROGRAMS = {"beam.smp": "broker", "postgres": "database"}


@dataclass(frozen=True, slots=True)
class Sizes:
    few: int
    many: int
    """Backups in the catalogue."""
    rate: float
    """Events a second that agents tell while users ask."""
    seconds: float
    backlog: int


@dataclass(frozen=True, slots=True)
class Bench:
    base: Path
    broker: PrivateRabbitMQ
    fleet: Fleet
    instance_ids: Sequence[str]
    waiting: Sequence[str]
    sizes: Sizes


def measure(bench: Bench, name: str, url: str) -> Measured:
    """Of the database `name` at `url`, which is empty."""
    sizes, port = bench.sizes, free_port()
    api = Api(bench.base / name, bench.broker.url, database_url=url, extra={"metrics": {"port": port}})
    upgraded = api.command("db", "upgrade")
    if upgraded.status != 0:
        raise RuntimeError(f"the tables can't be made:\n{upgraded.stderr}")
    token = api.add_token()
    catalogue.register(url, bench.instance_ids)
    tell(doing="fill", database=name, backups=sizes.few)
    middle = catalogue.fill(url, bench.instance_ids, range(sizes.few))
    with api:
        watching = _Watching(bench, name, url, api, port, token)
        few = watching.watch(middle, sizes.rate)
        tell(doing="fill", database=name, backups=sizes.many)
        middle = catalogue.fill(url, bench.instance_ids, range(sizes.few, sizes.many))
        calm = watching.watch(middle, 0.0)
        many = watching.watch(middle, sizes.rate)
        faults = [line for line in api.log if line["level"] in ("error", "warning")]
    if faults:
        raise RuntimeError(f"the API has complained: {faults[0]}")
    return Measured(name, _version(url), few, calm, many, _backlog(bench, name, url, api, port))


@dataclass(frozen=True, slots=True)
class _Watching:
    bench: Bench
    name: str
    url: str
    api: Api
    port: int
    token: str

    def watch(self, middle: Place, rate: float) -> Watch:
        """Users beside the fleet, when that has come to its pace."""
        bench, fleet = self.bench, self.bench.fleet
        tell(doing="watch", database=self.name, events_per_s=rate, seconds=bench.sizes.seconds)
        fleet.tell(rate)
        begun = taken_in(self.port)
        _await(lambda: taken_in(self.port) > begun, "the first event")
        asking = Asking(self.api.url, self.token, bench.waiting, middle)
        cpu, before, told, since = _cpu(self.api, fleet), taken_in(self.port), fleet.told, time.monotonic()
        waits, users_cpu = ask(asking, bench.sizes.seconds)
        told, taken, seconds = fleet.told - told, taken_in(self.port) - before, time.monotonic() - since
        used = _used(cpu, _cpu(self.api, fleet), seconds)
        used["users"] = round(users_cpu / seconds, 3)
        used[_OTHERS] = round(used[_OTHERS] - used["users"], 3)
        fleet.rest()
        _await(lambda: _depth(bench.broker) == 0, "the last event")
        return Watch(self.name, _count(self.url), seconds, told, taken, used, waits)


def _backlog(bench: Bench, name: str, url: str, api: Api, port: int) -> Backlog:
    """The API was stopped; what agents tell waits in the broker until it comes back."""
    fleet = bench.fleet
    tell(doing="backlog", database=name, events=bench.sizes.backlog)
    before = fleet.told
    fleet.tell(_HASTE)
    _await(lambda: fleet.told - before >= bench.sizes.backlog, "a backlog")
    fleet.rest()
    with closing(bench.broker.connect()) as connection:
        channel = connection.channel()

        def depth() -> int:
            return bench.broker.depth(channel, EVENTS_QUEUE)

        _await(lambda: depth() >= bench.sizes.backlog, "the backlog in the broker")
        waiting = depth()
        with api:
            # What the queue holds is not asked for: a broker that is busy says that it holds nothing.
            _await(lambda: taken_in(port) > 0, "the first event")
            left, since, cpu = waiting - taken_in(port), time.monotonic(), _cpu(api, fleet)
            _await(lambda: taken_in(port) >= waiting, "all events in the catalogue")
            seconds, used = time.monotonic() - since, _cpu(api, fleet)
    return Backlog(name, _count(url), left, seconds, _used(cpu, used, seconds))


def taken_in(port: int) -> int:
    """Events that the API has acknowledged since its start, whatever came of them."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    lines = [line for line in text.splitlines() if line.startswith("backup_api_events_total")]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def _version(url: str) -> str:
    with closing(Database(url)) as database, database.reading():
        return ".".join(str(part) for part in database.engine.dialect.server_version_info or ())


def _count(url: str) -> int:
    with closing(Database(url)) as database, database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(backups)).scalar_one())


def _depth(broker: PrivateRabbitMQ) -> int:
    with closing(broker.connect()) as connection:
        return broker.depth(connection.channel(), EVENTS_QUEUE)


def _await(condition: Callable[[], object], what: str) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {_PATIENCE_S:.0f} s")
        time.sleep(_LOOK_S)


def _cpu(api: Api, fleet: Fleet) -> dict[str, float]:
    """CPU seconds so far of who takes part, and of everybody else on the machine; the users are among these."""
    relay = api.processes()[-1]
    found: dict[str, float] = {}
    own = {fleet.pid: "fleet", relay: "relay", **dict.fromkeys(api.processes()[:-1], "workers")}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            name = own.get(process.pid) or _PROGRAMS.get(process.name())
            times = process.cpu_times()
            if name is not None:
                found[name] = found.get(name, 0.0) + times.user + times.system
    machine = psutil.cpu_times()
    return found | {_OTHERS: machine.user + machine.nice + machine.system - sum(found.values())}


def _used(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """In cores."""
    return {name: round((after[name] - before.get(name, 0.0)) / seconds, 3) for name in after}
