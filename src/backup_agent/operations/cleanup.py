"""Removes what a backup that did not complete has stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog

from backup_agent.domain.layout import BackupPlace
from backup_agent.errors import BackupAgentError, ErrorCode, StoreError
from backup_agent.storage.interface import Store

log = structlog.get_logger(__name__)

_REMOVERS = 4


@contextmanager
def leaving_nothing_behind(store: Store, place: BackupPlace, on_remains: Callable[[], None]) -> Iterator[None]:
    """Removes every object of `place` when the block raises, and whatever a killed attempt left there before it begins.

    The caller holds the instance's lock, so that no live attempt can be met, and has found no manifest. A clean-up that
    fails is logged, with where the rest is, and `on_remains` is called; the block's own error is the one that is
    raised.
    """
    _remove_leftovers(store, place)
    try:
        yield
    except BaseException:
        log.info("removing what was stored of the failed backup", prefix=place.prefix)
        try:
            remove_objects(store, place)
        except BackupAgentError as error:
            log.error(  # noqa: TRY400 - the message says it all, a traceback would add nothing
                "objects of the failed backup remain",
                prefix=f"{store.url}/{place.prefix}",
                code=error.code,
                reason=error.message,
                hint="They are removed before the next backup or at the next start, when the store lets them go.",
            )
            on_remains()
        raise


def remove_objects(store: Store, place: BackupPlace) -> None:
    """The manifest first: without it the rest is no backup, and while it can't be removed the rest must stay.

    Raises what the store raises, StoreError (`object_locked`) among it.
    """
    store.delete(place.manifest)
    _remove(store, [stored.key for stored in store.list(place.prefix)])


def _remove_leftovers(store: Store, place: BackupPlace) -> None:
    """Never a manifest: a store that denied it a moment ago and lists it now is not to be believed either time."""
    keys = [stored.key for stored in store.list(place.prefix)]
    if place.manifest in keys:
        raise StoreError(
            ErrorCode.STORE_FAILED,
            f"{store.url} says that {place.manifest} does not exist, and lists it",
            "Find out why the store contradicts itself; nothing was changed.",
        )
    with putting_up_with_locks(place):
        _remove(store, keys)


@contextmanager
def putting_up_with_locks(place: BackupPlace, on_remains: Callable[[], None] = lambda: None) -> Iterator[None]:
    """What the store has to keep of an attempt that failed is in nobody's way: the next one is put over it, as a new
    version. `on_remains` is called when there is something.
    """
    try:
        yield
    except StoreError as error:
        if error.code is not ErrorCode.OBJECT_LOCKED:
            raise
        log.warning("the store keeps what an attempt that failed has left", prefix=place.prefix, reason=error.message)
        on_remains()


def _remove(store: Store, keys: list[str]) -> None:
    with ThreadPoolExecutor(_REMOVERS, "remove") as pool:
        for done in [pool.submit(store.delete, key) for key in keys]:
            done.result()
