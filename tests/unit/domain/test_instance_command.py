"""The names of the commands on an instance: said once, and known to all who use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.domain.instance_command import INSTANCE_COMMANDS, InstanceCommandType
from backup_agent.operations.kinds import OPERATIONS

MESSAGES = Path(__file__).parents[3] / "docs" / "messages.md"


def test_each_command_has_a_shape_and_is_carried_out() -> None:
    assert set(INSTANCE_COMMANDS) == set(OPERATIONS) == set(InstanceCommandType)
    assert {kind: OPERATIONS[kind].model for kind in InstanceCommandType} == INSTANCE_COMMANDS


@pytest.mark.parametrize("kind", InstanceCommandType)
def test_a_command_is_named_as_its_message_and_documented(kind: InstanceCommandType) -> None:
    assert str(kind) == f"instance.{kind.action}"
    written = MESSAGES.read_text()
    assert f"`{kind}`" in written or f"`.{kind.action}`" in written
