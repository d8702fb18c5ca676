"""The stores of the contract: a directory and a real S3 server, each bare and wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from backup_agent.storage.retry import RetryingStore
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.throttle import Bandwidth, ThrottledStore
from tests.contract.line import TIMEOUT_S, Line
from tests.servers.faultproxy import FaultProxy
from tests.servers.s3 import CROWD_BUCKET, CROWD_KEY, S3Server

CONTAINER = "box"
CROWD = 10_000
"""A store of S3 tells of a thousand at a time."""


_WRAPPERS: dict[str, Callable[[Store], Store]] = {
    "retrying": lambda store: RetryingStore(store, give_up_after=5, cancellation=Cancellation()),
    "throttled": lambda store: ThrottledStore(store, Bandwidth(1 << 30), cancellation=Cancellation()),
}


@dataclass(frozen=True)
class Makers:
    """How to make the stores of one kind. Each place has its own objects and may be connected to repeatedly."""

    connect: Callable[[str, bool], Store]
    """Takes the place and whether it may be made."""
    new_place: Callable[[], str]
    crowd: Callable[[], str]
    """A place with CROWD objects below `crowd/`, only to be read."""


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with S3Server(crowd=CROWD) as server:
        yield server


@pytest.fixture(scope="session")
def crowded_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("crowded")
    (root / "crowd").mkdir()
    for number in range(CROWD):
        (root / CROWD_KEY.format(number)).write_bytes(b"x")
    return root


@pytest.fixture(
    params=[
        "directory",
        pytest.param("s3", marks=pytest.mark.server),
        "retrying directory",
        pytest.param("retrying s3", marks=pytest.mark.server),
        "throttled directory",
        pytest.param("throttled s3", marks=pytest.mark.server),
    ]
)
def makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    """Of every kind of store in turn."""
    kind: str = request.param
    family = _s3_makers if kind.endswith("s3") else _directory_makers
    with family(request, tmp_path) as plain:
        wrap = next((wrap for word, wrap in _WRAPPERS.items() if kind.startswith(word)), None)
        if wrap is None:
            yield plain
            return
        yield Makers(lambda place, create: wrap(plain.connect(place, create)), plain.new_place, plain.crowd)


@pytest.fixture
def store(makers: Makers) -> Store:
    """An empty store in which CONTAINER is prepared."""
    made = makers.connect(makers.new_place(), True)
    made.prepare(CONTAINER)
    return made


@contextmanager
def _directory_makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    yield Makers(
        lambda place, create: LocalStore(Path(place), create=create),
        lambda: str(tmp_path / "made" / "root"),
        lambda: str(request.getfixturevalue("crowded_directory")),
    )


@contextmanager
def _s3_makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    del tmp_path
    server: S3Server = request.getfixturevalue("s3")
    opened: list[S3Store] = []

    def connect(place: str, create: bool) -> S3Store:  # noqa: FBT001 - as Makers has it
        bucket, _, prefix = place.partition("/")
        opened.append(S3Store(bucket, prefix, create=create, options=server.options()))
        return opened[-1]

    yield Makers(connect, lambda: f"{server.new_bucket()}/some/prefix", lambda: CROWD_BUCKET)
    for store in opened:
        store.close()


@pytest.fixture(scope="module")
def shared_line(s3: S3Server) -> Iterator[Line]:
    bucket = s3.new_bucket()
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(s3.port))
        direct = S3Store(bucket, "", create=True, options=s3.options())
        stack.callback(direct.close)
        faulty = S3Store(bucket, "", create=False, options=s3.options(endpoint_url=proxy.url, timeout_s=TIMEOUT_S))
        stack.callback(faulty.close)
        direct.prepare("box")
        yield Line(bucket, proxy, direct, faulty)


@pytest.fixture
def line(shared_line: Line) -> Line:
    """An empty bucket and no faults yet."""
    shared_line.proxy.forget()
    shared_line.retries.clear()
    for entry in shared_line.direct.list(""):
        shared_line.direct.delete(entry.key)
    return shared_line
