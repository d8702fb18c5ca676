"""How long backups are kept, where that is not said otherwise."""

from __future__ import annotations

from pydantic import PositiveInt

from backup_agent.config.section import Section


class RetentionConfig(Section):
    """What `backup-agent expire` keeps when it is not told otherwise: a backup stays if any of these keeps it. Nothing
    expires by itself; docs/retention.md has the timer.
    """

    keep_fulls: PositiveInt | None = None
    """The newest full backups, with all that is built on them."""
    keep_days: PositiveInt | None = None
    """Backups that finished within so many days."""
    keep_weekly: PositiveInt | None = None
    """The newest backup of each of so many weeks that have any."""
    keep_monthly: PositiveInt | None = None
    """The newest backup of each of so many months that have any."""
