"""Operations on instances that users ask for, and what agents answer."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}


def _ascii(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    kind = sa.String(length).with_variant(sa.String(length, collation="ascii_bin"), "mysql", "mariadb")
    return sa.Column(name, kind, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "operations",
        _ascii("id", 36),
        _ascii("account_id", 64),
        _ascii("instance_id", 36),
        sa.Column("command", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger()),
        sa.Column("result", sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_hint", sa.Text()),
        sa.Column("error_status", sa.Integer()),
        _ascii("backup_id", 36, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_operations_account_id"),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_operations_instance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
        **_OPTIONS,
    )
    op.create_index("ix_operations_instance_id_status", "operations", ["instance_id", "status"])
    op.create_index("ix_operations_status_asked", "operations", ["status", "asked"])


def downgrade() -> None:
    op.drop_table("operations")
