"""The stores of the contract: a directory, S3 and Swift, bare and wrapped; and as other servers answer them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from backup_agent.storage.retry import RetryingStore
from backup_agent.storage.s3 import S3Store
from backup_agent.storage.s3_client import S3Options
from backup_agent.storage.swift import SwiftStore
from backup_agent.storage.swift_client import SwiftOptions
from backup_agent.storage.throttle import Bandwidth, ThrottledStore
from tests.contract.line import PATIENT_S, TIMEOUT_S, ImpatientOfSilence, Line, patient_with_swift
from tests.contract.swift_line import SwiftLine
from tests.servers.faultproxy import FaultProxy
from tests.servers.juicefs import PrivateJuiceFS
from tests.servers.s3 import CROWD_BUCKET, CROWD_KEY, S3Server
from tests.servers.swift import CROWD_ACCOUNT, Cloud, PrivateSwift, new_account

CONTAINER = "box"
NOT_OF_JUICEFS = {
    # A file system: a put fails whose directory is removed with the last object in it.
    "test_threads_may_delete_the_last_objects_where_others_put",
    # It would take this server half a minute to be given so many objects.
    "test_more_objects_than_a_store_tells_of_at_a_time_are_listed_in_order",
}
OF_KEYSTONE = {
    "test_what_was_put_is_got_back",
    "test_an_object_larger_than_a_chunk_comes_back_whole",
    "test_an_absent_object_is_reported_by_its_own_error",
    "test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error",
    "test_children_are_the_next_names_each_once",
    "test_threads_may_put_get_and_delete_at_once",
    "test_preparing_makes_the_place_where_that_is_allowed_and_may_be_repeated",
    "test_nothing_but_preparing_makes_or_ignores_a_missing_place",
}
"""Only the login is another than with the other Swift, and each store's takes this one's Keystone a second."""
CROWD = 10_000
"""A store of S3 tells of a thousand at a time."""


_WRAPPERS: dict[str, Callable[[Store], Store]] = {
    "retrying": lambda store: RetryingStore(store, give_up_after=5, cancellation=Cancellation()),
    "throttled": lambda store: ThrottledStore(store, Bandwidth(1 << 30), cancellation=Cancellation()),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes out what a kind of server is not asked."""
    left_out = [item for item in items if isinstance(item, pytest.Function) and not _is_asked(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_asked(test: pytest.Function) -> bool:
    kind = test.callspec.params.get("makers") if hasattr(test, "callspec") else None
    if kind == "swift of keystone":
        return test.originalname in OF_KEYSTONE
    return kind != "s3 of juicefs" or test.originalname not in NOT_OF_JUICEFS


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
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSwift]:
    with PrivateSwift(tmp_path_factory.mktemp("swift"), crowd=CROWD) as server:
        yield server


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def juicefs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateJuiceFS]:
    with PrivateJuiceFS(tmp_path_factory.mktemp("juicefs")) as server:
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
        pytest.param("swift", marks=pytest.mark.server),
        pytest.param("retrying swift", marks=pytest.mark.server),
        pytest.param("swift of keystone", marks=pytest.mark.server),
        pytest.param("s3 of swift", marks=pytest.mark.server),
        pytest.param("s3 of juicefs", marks=pytest.mark.server),
    ]
)
def makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    """Of every kind of store in turn."""
    kind: str = request.param
    with _FAMILIES[kind.removeprefix("retrying ").removeprefix("throttled ")](request, tmp_path) as plain:
        wrap = next((wrap for word, wrap in _WRAPPERS.items() if kind.startswith(word)), None)
        if wrap is None:
            yield plain
            return
        yield replace(plain, connect=lambda place, create: wrap(plain.connect(place, create)))


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
    with _connecting_to_s3(server.options()) as connect:
        yield Makers(connect, lambda: f"{server.new_bucket()}/some/prefix", lambda: CROWD_BUCKET)


@contextmanager
def _s3api_makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    del tmp_path
    server: PrivateSwift = request.getfixturevalue("swift")
    with _connecting_to_s3(server.s3_options()) as connect:
        yield Makers(
            lambda place, create: patient_with_swift(connect(place, create)),
            lambda: f"bucket-{uuid.uuid4()}/some/prefix",
            lambda: CROWD_BUCKET,
        )


@contextmanager
def _juicefs_makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    del tmp_path
    server: PrivateJuiceFS = request.getfixturevalue("juicefs")
    with _connecting_to_s3(server.options()) as connect:
        yield Makers(connect, lambda: f"bucket-{uuid.uuid4()}/some/prefix", lambda: pytest.fail("not asked"))


@contextmanager
def _connecting_to_s3(options: S3Options) -> Iterator[Callable[[str, bool], S3Store]]:
    with ExitStack() as stack:

        def connect(place: str, create: bool) -> S3Store:  # noqa: FBT001 - as Makers has it
            bucket, _, prefix = place.partition("/")
            store = S3Store(bucket, prefix, create=create, options=options)
            stack.callback(store.close)
            return store

        yield connect


@contextmanager
def _swift_makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    del tmp_path
    server: PrivateSwift = request.getfixturevalue("swift")
    with _connecting_to_swift(server.options()) as connect:
        yield Makers(connect, new_account, lambda: CROWD_ACCOUNT)


@contextmanager
def _keystone_makers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Makers]:
    del tmp_path
    cloud: Cloud = request.getfixturevalue("cloud")
    with _connecting_to_swift(cloud.keeper) as connect:
        yield Makers(connect, new_account, lambda: pytest.fail("not asked"))


@contextmanager
def _connecting_to_swift(options: SwiftOptions) -> Iterator[Callable[[str, bool], SwiftStore]]:
    with ExitStack() as stack:

        def connect(place: str, create: bool) -> SwiftStore:  # noqa: FBT001 - as Makers has it
            store = SwiftStore(place, create=create, options=options)
            stack.callback(store.close)
            return store

        yield connect


_FAMILIES = {
    "directory": _directory_makers,
    "s3": _s3_makers,
    "swift": _swift_makers,
    "swift of keystone": _keystone_makers,
    "s3 of swift": _s3api_makers,
    "s3 of juicefs": _juicefs_makers,
}


@pytest.fixture(scope="module")
def shared_line(s3: S3Server) -> Iterator[Line]:
    bucket = s3.new_bucket()
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(s3.port))
        direct = S3Store(bucket, "", create=True, options=s3.options())
        stack.callback(direct.close)
        impatient, patient = (
            S3Store(bucket, "", create=False, options=s3.options(endpoint_url=proxy.url, timeout_s=timeout_s))
            for timeout_s in (TIMEOUT_S, PATIENT_S)
        )
        stack.callback(impatient.close)
        stack.callback(patient.close)
        direct.prepare("box")
        yield Line(bucket, proxy, direct, ImpatientOfSilence(proxy, impatient, patient), impatient)


@pytest.fixture
def line(shared_line: Line) -> Line:
    """An empty bucket and no faults yet."""
    shared_line.proxy.forget()
    shared_line.retries.clear()
    for entry in shared_line.direct.list(""):
        shared_line.direct.delete(entry.key)
    return shared_line


@pytest.fixture(scope="module")
def shared_swift_line(swift: PrivateSwift) -> Iterator[SwiftLine]:
    account = new_account()
    with FaultProxy(swift.port) as proxy, SwiftLine(swift, proxy, account) as line:
        yield line


@pytest.fixture
def swift_line(shared_swift_line: SwiftLine) -> SwiftLine:
    """An empty container, tokens at hand, and no faults yet."""
    line = shared_swift_line
    line.proxy.forget()
    line.retries.clear()
    line.direct.prepare(CONTAINER)
    for entry in line.direct.list(""):
        line.direct.delete(entry.key)
    for store in (line.impatient, line.patient):
        line.retrying(store).prepare(CONTAINER)  # the host may be slower than one of them is patient
    line.retries.clear()
    line.proxy.forget()
    return line
