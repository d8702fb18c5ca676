"""Where `status` reads from, as the configuration has it. Makes nothing."""

from __future__ import annotations

from backup_agent.app.wiring import journal_path
from backup_agent.config.file import Config
from backup_agent.instance.lock import InstanceLock
from backup_agent.journal.reading import JournalReader
from backup_agent.operations.status import Sources


def status_sources(config: Config) -> Sources:
    """Raises JournalError when it can't be seen whether there is a journal."""
    instance = config.instance
    journal = JournalReader(journal_path(config))
    return Sources(
        instance_id=instance.id,
        journal=journal if journal.exists() else None,
        holder=InstanceLock(instance.runtime_dir, instance.id).holder,
    )
