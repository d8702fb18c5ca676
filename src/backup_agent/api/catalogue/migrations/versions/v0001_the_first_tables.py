"""The first tables: accounts, instances, backups and tombstones; outbox and relay."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}


def _ascii(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    kind = sa.String(length).with_variant(sa.String(length, collation="ascii_bin"), "mysql", "mariadb")
    return sa.Column(name, kind, nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "accounts",
        _ascii("id", 64),
        _moment("created"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        **_OPTIONS,
    )
    _instances()
    _backups()
    op.create_table(
        "tombstones",
        _ascii("id", 36),
        _ascii("instance_id", 36),
        _moment("deleted"),
        sa.PrimaryKeyConstraint("id", name="pk_tombstones"),
        **_OPTIONS,
    )
    op.create_index("ix_tombstones_deleted", "tombstones", ["deleted"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _ascii("instance_id", 36),
        _ascii("backup_id", 36),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("message_id", sa.String(36), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _moment("created"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    op.create_index("ix_outbox_backup_id", "outbox", ["backup_id"])
    op.create_table(
        "relay",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        _moment("seen"),
        _moment("beat"),
        sa.PrimaryKeyConstraint("name", name="pk_relay"),
        **_OPTIONS,
    )


def _instances() -> None:
    op.create_table(
        "instances",
        _ascii("id", 36),
        _ascii("account_id", 64),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("datastore_type", sa.String(64), nullable=False),
        sa.Column("datastore_version", sa.String(64)),
        _moment("created"),
        _moment("removed", nullable=True),
        _moment("heard", nullable=True),
        sa.Column("agent_version", sa.String(64)),
        sa.Column("server_version", sa.String(128)),
        sa.Column("engine_version", sa.String(128)),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_instances_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
        **_OPTIONS,
    )
    op.create_index("ix_instances_account_id_created_id", "instances", ["account_id", "created", "id"])


def _backups() -> None:
    op.create_table(
        "backups",
        _ascii("id", 36),
        _ascii("account_id", 64),
        _ascii("instance_id", 36),
        _ascii("active_instance", 36, nullable=True),
        _ascii("parent_id", 36, nullable=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("description", sa.String(512)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("former_status", sa.String(16)),
        _moment("created"),
        _moment("updated"),
        _moment("heard"),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        _moment("told", nullable=True),
        sa.Column("phase", sa.String(16)),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("size", sa.Double()),
        sa.Column("location", sa.Text()),
        sa.Column("checksum", sa.String(128)),
        sa.Column("datastore_type", sa.String(64)),
        sa.Column("datastore_version", sa.String(64)),
        sa.Column("datastore_version_id", sa.String(128)),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_hint", sa.Text()),
        _moment("verified", nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_backups_account_id"),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name="fk_backups_instance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_backups"),
        **_OPTIONS,
    )
    op.create_index("uq_backups_active_instance", "backups", ["active_instance"], unique=True)
    op.create_index("ix_backups_account_id_created_id", "backups", ["account_id", "created", "id"])
    op.create_index("ix_backups_instance_id_created_id", "backups", ["instance_id", "created", "id"])
    op.create_index("ix_backups_created_id", "backups", ["created", "id"])
    op.create_index("ix_backups_parent_id", "backups", ["parent_id"])
    op.create_index("ix_backups_status_heard", "backups", ["status", "heard"])


def downgrade() -> None:
    for table in ("relay", "outbox", "tombstones", "backups", "instances", "accounts"):
        op.drop_table(table)
