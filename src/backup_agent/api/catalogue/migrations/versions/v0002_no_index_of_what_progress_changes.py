"""Backups by status alone: to have `heard` in the index made PostgreSQL write to all indexes for each event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_backups_status", "backups", ["status"])
    op.drop_index("ix_backups_status_heard", "backups")
    if op.get_bind().dialect.name == "postgresql":
        # A row that changes stays on its page, and in its places of the indexes, when there is room for it.
        for table in ("backups", "instances"):
            op.execute(sa.text(f"ALTER TABLE {table} SET (fillfactor = 80)"))


def downgrade() -> None:
    op.create_index("ix_backups_status_heard", "backups", ["status", "heard"])
    op.drop_index("ix_backups_status", "backups")
    if op.get_bind().dialect.name == "postgresql":
        for table in ("backups", "instances"):
            op.execute(sa.text(f"ALTER TABLE {table} RESET (fillfactor)"))
