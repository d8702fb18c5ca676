"""Waits for agents' answers, which a relay writes into the catalogue.

All who wait in a process are looked after by one query now and then, however many they are. No thread, transaction or
connection is held for one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from starlette.concurrency import run_in_threadpool

from backup_agent.api.catalogue.operation import Operation

FindEnded = Callable[[Collection[str]], Sequence[Operation]]
"""Which of the operations of these ids are not under way any more. Raises CatalogueError."""

_PAUSE_S = 0.02


class Waiters:
    """For the event loop's thread alone."""

    def __init__(self, find_ended: FindEnded) -> None:
        """`find_ended` is called in other threads."""
        self._find_ended = find_ended
        self._waiting: dict[str, asyncio.Future[Operation]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def answered(self, operation_id: str, within: float) -> Operation | None:
        """The operation when it has ended; None when it has not after so many seconds. Raises CatalogueError.

        One may wait for each.
        """
        ended: asyncio.Future[Operation] = asyncio.get_running_loop().create_future()
        self._waiting[operation_id] = ended
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            return await asyncio.wait_for(ended, within)
        except TimeoutError:
            return None
        finally:
            del self._waiting[operation_id]

    async def _look(self) -> None:
        while self._waiting:
            asked = tuple(self._waiting)
            try:
                ended = await run_in_threadpool(self._find_ended, asked)
            except Exception as error:  # noqa: BLE001 - each who waits raises it
                self._fail(asked, error)
            else:
                self._tell(ended)
            await asyncio.sleep(_PAUSE_S)

    def _tell(self, ended: Iterable[Operation]) -> None:
        for operation in ended:
            waiting = self._waiting.get(operation.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(operation)

    def _fail(self, asked: Iterable[str], error: Exception) -> None:
        for operation_id in asked:
            waiting = self._waiting.get(operation_id)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
