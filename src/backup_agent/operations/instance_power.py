"""`instance.restart`, `instance.stop` and `instance.delete`: asked of whoever can do it, and believed when it is seen.

A restart was one when the server that answers was started at another time than before; a stop, when nobody accepts
connections any more. `delete` stops the server for good: neither data nor backups are removed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backup_agent.domain.administration import Action
from backup_agent.domain.instance_command import DeleteInstance, InstanceCommandType, RestartInstance, StopInstance
from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.operations.instance_operation import Operation, Result, Work, no_names, unavailable

_LOOK_SECONDS = 0.1


def restart(command: RestartInstance, work: Work) -> Result:
    del command
    _check(Action.RESTART, work)
    if not work.again:
        work.begin(work.vitals.started())
    before = work.notes.server_started

    def restarted() -> bool:
        now = work.vitals.started()
        return now is not None and now != before

    if not (work.again and restarted()):
        _carry_out(Action.RESTART, restarted, "the server was not seen to start again", work)
    return {}


def stop(command: StopInstance | DeleteInstance, work: Work, action: Action) -> Result:
    """Of a server that is down already, too: it may be about to be started again."""
    del command
    _check(action, work)
    if not work.again:
        work.begin()
    _carry_out(action, lambda: not work.vitals.listens(), "the server still accepts connections", work)
    return {}


def _check(action: Action, work: Work) -> None:
    if not work.power.can(action):
        raise unavailable(work.task.kind, "Set administration.power; see docs/administration.md.")


def _carry_out(action: Action, done: Callable[[], bool], otherwise: str, work: Work) -> None:
    deadline = work.services.clock.monotonic() + work.power_within
    with work.power.asked(action, work.power_within, work.cancellation):
        while not done():
            if work.services.clock.monotonic() >= deadline:
                raise InstanceError(
                    ErrorCode.POWER_FAILED,
                    f"{action.value}: {otherwise} within {work.power_within:g} s",
                    "Look at the database's unit and its error log; give administration.power_s more time.",
                )
            work.cancellation.check()
            work.cancellation.wait(_LOOK_SECONDS)


RESTART = Operation(InstanceCommandType.RESTART, RestartInstance, no_names, restart)
STOP = Operation(InstanceCommandType.STOP, StopInstance, no_names, partial(stop, action=Action.STOP))
DELETE_INSTANCE = Operation(InstanceCommandType.DELETE, DeleteInstance, no_names, partial(stop, action=Action.DELETE))
