"""What every store does, bare or wrapped, as storage/interface.py promises it."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from backup_agent.errors import ErrorCode, MissingError, StoreError
from backup_agent.storage.interface import Store, StoredObject
from tests.contract.conftest import CONTAINER, CROWD, Makers
from tests.servers.s3 import CROWD_KEY

KEY = f"{CONTAINER}/instance/backup/chunk-00000000.zst"
MIB = 1 << 20
PLENTY = 64 * MIB


def keys(store: Store, prefix: str) -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def put_all(store: Store, *below_container: str) -> None:
    for name in below_container:
        store.put(f"{CONTAINER}/{name}", name.encode())


def test_what_was_put_is_got_back(store: Store) -> None:
    store.put(KEY, b"some bytes\0\r\n\xff")

    assert store.get(KEY, limit=PLENTY) == b"some bytes\0\r\n\xff"


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put(KEY, b"")

    assert store.get(KEY, limit=PLENTY) == b""
    assert list(store.list(KEY)) == [StoredObject(KEY, 0)]


def test_an_object_larger_than_a_chunk_comes_back_whole(store: Store) -> None:
    body = os.urandom(MIB) * 33 + b"and a bit"

    store.put(KEY, body)

    assert store.get(KEY, limit=PLENTY) == body
    assert list(store.list(KEY)) == [StoredObject(KEY, len(body))]


def test_a_listing_tells_when_an_object_was_put_by_the_store_s_own_clock(store: Store) -> None:
    store.put(KEY, b"first")
    (first,) = store.list(KEY)
    store.put(KEY, b"second")
    (second,) = store.list(KEY)

    assert first.modified is not None
    assert second.modified is not None
    assert first.modified.utcoffset() is not None
    assert first.modified <= second.modified


def test_no_more_than_the_limit_is_read(store: Store) -> None:
    store.put(KEY, b"0123456789" * MIB)

    assert store.get(KEY, limit=12) == b"012345678901"
    assert store.get(KEY, limit=0) == b""
    assert store.get(KEY, limit=10 * MIB) == b"0123456789" * MIB


def test_putting_the_same_again_is_harmless(store: Store) -> None:
    store.put(KEY, b"same")
    store.put(KEY, b"same")

    assert store.get(KEY, limit=PLENTY) == b"same"
    assert keys(store, "") == [KEY]


def test_a_digest_that_the_caller_knows_and_finality_change_nothing_of_a_first_put(store: Store) -> None:
    body = b"a chunk" * 1000

    store.put(KEY, body, sha256=hashlib.sha256(body).hexdigest(), once=True)
    store.put(KEY, body, sha256=hashlib.sha256(body).hexdigest(), once=True)

    assert store.get(KEY, limit=PLENTY) == body
    assert keys(store, "") == [KEY]


def test_another_body_replaces_the_first(store: Store) -> None:
    store.put(KEY, b"the first, longer one")
    store.put(KEY, b"the second")

    assert store.get(KEY, limit=PLENTY) == b"the second"


def test_an_absent_object_is_reported_by_its_own_error(store: Store) -> None:
    with pytest.raises(MissingError) as caught:
        store.get(KEY, limit=PLENTY)

    assert caught.value.code is ErrorCode.OBJECT_MISSING
    assert KEY in caught.value.message


def test_the_way_to_an_object_is_no_object(store: Store) -> None:
    store.put(KEY, b"x")

    with pytest.raises(MissingError):
        store.get(f"{CONTAINER}/instance", limit=PLENTY)
    store.delete(f"{CONTAINER}/instance")
    assert keys(store, "") == [KEY]


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(store: Store) -> None:
    store.put(KEY, b"x")
    store.delete(KEY)
    store.delete(KEY)

    assert keys(store, "") == []
    with pytest.raises(MissingError):
        store.get(KEY, limit=PLENTY)


def test_deleting_leaves_the_neighbours(store: Store) -> None:
    put_all(store, "i/b/chunk-0", "i/b/chunk-1", "i/c/chunk-0")

    store.delete(f"{CONTAINER}/i/b/chunk-0")
    store.delete(f"{CONTAINER}/i/c/chunk-0")

    assert keys(store, "") == [f"{CONTAINER}/i/b/chunk-1"]
    assert list(store.children(f"{CONTAINER}/i/")) == ["b"]


def test_after_the_last_object_was_deleted_new_ones_can_be_put(store: Store) -> None:
    store.put(KEY, b"x")
    store.delete(KEY)
    store.put(KEY, b"y")

    assert store.get(KEY, limit=PLENTY) == b"y"


def test_a_listing_is_in_the_order_of_the_keys_whatever_the_tree(store: Store) -> None:
    put_all(store, "b", "a/b/c", "a.b", "a-b/c", "a0", "a/b-c", "a/b/a", "é", "Z")

    listed = keys(store, "")

    assert listed == sorted(listed)
    assert [key.removeprefix(f"{CONTAINER}/") for key in listed] == [
        "Z",
        "a-b/c",
        "a.b",
        "a/b-c",
        "a/b/a",
        "a/b/c",
        "a0",
        "b",
        "é",
    ]


def test_a_prefix_is_matched_to_the_letter(store: Store) -> None:
    put_all(store, "a/b", "a/bc", "a/b.d/e", "a/c", "ab/x")

    assert keys(store, f"{CONTAINER}/a/b") == [f"{CONTAINER}/a/{name}" for name in ("b", "b.d/e", "bc")]
    assert keys(store, f"{CONTAINER}/a/b.d/") == [f"{CONTAINER}/a/b.d/e"]
    assert keys(store, f"{CONTAINER}/a/") == [f"{CONTAINER}/a/{name}" for name in ("b", "b.d/e", "bc", "c")]
    assert keys(store, f"{CONTAINER}/A") == []


def test_a_container_that_nobody_made_is_empty_where_it_is_a_prefix_and_missing_where_it_is_real(store: Store) -> None:
    for listing in (store.list, store.children):
        if store.url.startswith("swift:"):
            with pytest.raises(StoreError) as caught:
                list(listing("elsewhere/"))
            assert caught.value.code is ErrorCode.STORE_MISSING
        else:
            assert list(listing("elsewhere/")) == []


def test_sizes_are_listed_in_bytes(store: Store) -> None:
    store.put(KEY, b"x" * 12345)

    assert [entry.size for entry in store.list(KEY)] == [12345]


def test_children_are_the_next_names_each_once(store: Store) -> None:
    put_all(store, "i1/b1/chunk-0", "i1/b1/chunk-1", "i1/b2/manifest.json", "i2/b3/chunk-0", "i2/loose")

    assert list(store.children(f"{CONTAINER}/")) == ["i1", "i2"]
    assert list(store.children(f"{CONTAINER}/i1/")) == ["b1", "b2"]
    assert list(store.children(f"{CONTAINER}/i2/")) == ["b3"]
    assert list(store.children(f"{CONTAINER}/i1/b1/")) == []
    assert list(store.children(f"{CONTAINER}/i3/")) == []
    assert list(store.children("")) == [CONTAINER]


def test_children_come_in_the_order_of_their_keys(store: Store) -> None:
    put_all(store, "a/x", "a-b/x", "a.b/x", "a0/x")

    assert list(store.children(f"{CONTAINER}/")) == ["a-b", "a.b", "a", "a0"]


def test_more_objects_than_a_store_tells_of_at_a_time_are_listed_in_order(makers: Makers) -> None:
    crowded = makers.connect(makers.crowd(), False)

    listed = list(crowded.list("crowd/"))

    assert [entry.key for entry in listed] == [CROWD_KEY.format(number) for number in range(CROWD)]
    assert all(before.key < after.key for before, after in pairwise(listed))


def test_threads_may_put_get_and_delete_at_once(store: Store) -> None:
    for number in range(5):  # no last object of its place is deleted: of that is the next test
        store.put(f"{CONTAINER}/i/b{number}/stays", b"")

    def work(number: int) -> bytes:
        key = f"{CONTAINER}/i/b{number % 5}/chunk-{number:08d}"
        store.put(key, f"body {number}".encode() * 1000)
        got = store.get(key, limit=PLENTY)
        if number % 2:
            store.delete(key)
        return got

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(work, range(80)))

    assert got == [f"body {number}".encode() * 1000 for number in range(80)]
    assert len(keys(store, f"{CONTAINER}/i/")) == 45


def test_threads_may_delete_the_last_objects_where_others_put(store: Store) -> None:
    def work(number: int) -> None:
        key = f"{CONTAINER}/i/b/chunk-{number:08d}"
        for _ in range(25):
            store.put(key, b"x")
            store.delete(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert keys(store, "") == []


def test_objects_outlive_the_connection(makers: Makers) -> None:
    place = makers.new_place()
    first = makers.connect(place, True)
    first.prepare(CONTAINER)
    first.put(KEY, b"x")

    assert makers.connect(place, False).get(KEY, limit=PLENTY) == b"x"


def test_preparing_makes_the_place_where_that_is_allowed_and_may_be_repeated(makers: Makers) -> None:
    place = makers.new_place()
    store = makers.connect(place, True)

    store.prepare(CONTAINER)
    store.put(KEY, b"x")
    store.prepare(CONTAINER)
    makers.connect(place, False).prepare(CONTAINER)

    assert keys(store, "") == [KEY]


def test_a_place_that_may_not_be_made_is_reported_missing(makers: Makers) -> None:
    store = makers.connect(makers.new_place(), False)

    with pytest.raises(StoreError) as caught:
        store.prepare(CONTAINER)

    assert caught.value.code is ErrorCode.STORE_MISSING
    assert caught.value.hint


def test_nothing_but_preparing_makes_or_ignores_a_missing_place(makers: Makers) -> None:
    store = makers.connect(makers.new_place(), True)

    for request in (
        lambda: store.put(KEY, b"x"),
        lambda: store.get(KEY, limit=PLENTY),
        lambda: list(store.list("")),
        lambda: list(store.children("")),
        lambda: store.delete(KEY),
    ):
        with pytest.raises(StoreError) as caught:
            request()
        assert caught.value.code is ErrorCode.STORE_MISSING


def test_keys_that_not_every_store_could_hold_are_refused(store: Store) -> None:
    for key in ("", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a/.b", "a\0b"):
        with pytest.raises(ValueError, match="is not a key"):
            store.put(key, b"x")
        with pytest.raises(ValueError, match="is not a key"):
            store.get(key, limit=PLENTY)
        with pytest.raises(ValueError, match="is not a key"):
            store.delete(key)
        with pytest.raises(ValueError, match="is not a key"):
            store.prepare(key)


def test_prefixes_that_lead_out_of_the_store_are_refused(store: Store) -> None:
    for prefix in ("../", "/", "a//", "a/../../b"):
        with pytest.raises(ValueError, match="is not the start of any key"):
            list(store.list(prefix))
        with pytest.raises(ValueError, match=r"is not the start of any key|must end in a slash"):
            list(store.children(prefix))
    with pytest.raises(ValueError, match="must end in a slash"):
        list(store.children(CONTAINER))


def test_the_url_says_where_the_store_is(makers: Makers) -> None:
    place = makers.new_place()

    url = makers.connect(place, True).url

    assert url in (f"s3://{place}", f"swift://{place}", f"file://{place}")
