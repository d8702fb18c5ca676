"""The shapes of bodies, and examples: those of the API's first documentation, completed by what is new."""

from __future__ import annotations

from typing import Any

from backup_agent.domain.instance_command import InstanceCommandType

_UUID = {"type": "string", "format": "uuid"}
_TIME = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$"}
_TEXT = {"type": "string"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _wrapped(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return _object({name: schema})


def _list(name: str, item: str) -> dict[str, Any]:
    links = {"type": "array", "items": _object({"rel": _TEXT, "href": _TEXT})}
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{item}"}}
    return _object({name: items, "links": links}, optional=("links",))


_DATASTORE = _object({"type": _TEXT, "version": _or_null(_TEXT), "version_id": _or_null(_TEXT)})
_BACKUP = _object(
    {
        "id": _UUID,
        "name": _TEXT,
        "description": _or_null(_TEXT),
        "instance_id": _UUID,
        "parent_id": _or_null(_UUID),
        "project_id": _TEXT,
        "created": _TIME,
        "updated": _TIME,
        "size": _or_null({"type": "number", "description": "GiB that are stored."}),
        "status": {"enum": ["NEW", "BUILDING", "COMPLETED", "FAILED", "DELETE_FAILED"]},
        "locationRef": _or_null(_TEXT),
        "checksum": _or_null(_TEXT),
        "datastore": {**_DATASTORE, "description": "Left out until it is known."},
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "error": _or_null(_object({"code": _TEXT, "message": _TEXT, "hint": _TEXT})),
        "verified_at": _or_null(_TIME),
        "deleting": {"type": "boolean", "description": "There while it is being deleted."},
    },
    optional=("datastore", "deleting"),
)
_INSTANCE = _object(
    {
        "id": _UUID,
        "name": _TEXT,
        "status": {"enum": ["ACTIVE", "BACKUP", "REBOOT", "SHUTDOWN"]},
        "created": _TIME,
        "updated": _TIME,
        "datastore": _DATASTORE,
        "flavor": {"type": "object"},
        "links": {"type": "array"},
    }
)
_NAME = {"type": "string", "minLength": 1, "maxLength": 64}
_DATABASE, _NEW_DATABASE = (
    _object(
        {"name": name, "character_set": _or_null(_TEXT), "collate": _or_null(_TEXT)},
        optional=("character_set", "collate"),
    )
    for name in (_TEXT, _NAME)
)
_USER = _object({"name": _TEXT, "host": _TEXT, "databases": {"type": "array", "items": _object({"name": _TEXT})}})
_NEW_USER = _object(
    {
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "password": {"type": "string", "minLength": 1, "maxLength": 256},
        "host": {**_or_null(_TEXT), "description": "`%`, the default, an address, or a host's name."},
        "databases": {
            **_or_null({"type": "array", "maxItems": 100, "items": _object({"name": _NAME})}),
            "description": "The user may do all in these, which must be there, and nothing elsewhere.",
        },
    },
    optional=("host", "databases"),
)
_OPERATION = _object(
    {
        "id": _UUID,
        "instance_id": _UUID,
        "action": {"enum": [command.action for command in InstanceCommandType]},
        "status": {"enum": ["ASKED", "DONE", "FAILED", "REJECTED"]},
        "created": _TIME,
        "finished": _or_null(_TIME),
        "error": _or_null(_object({"code": _TEXT, "message": _or_null(_TEXT), "hint": _or_null(_TEXT)})),
        "backup_id": {**_or_null(_UUID), "description": "The backup that it was rejected for."},
    }
)
_VERSION = _object({"id": _TEXT, "status": _TEXT, "updated": _TEXT, "links": {"type": "array"}})
_LIMIT = {
    "type": "object",
    "required": ["verb"],
    "properties": {
        "verb": _TEXT,
        "max_backups": {"type": "integer"},
        "unit": _TEXT,
        "value": {"type": "integer"},
        "remaining": {"type": "integer"},
        "uri": _TEXT,
        "regex": _TEXT,
        "nextAvailable": _TEXT,
    },
}
SCHEMAS: dict[str, Any] = {
    "BackupDetails": _BACKUP,
    "InstanceDetails": _INSTANCE,
    "Backup": _wrapped("backup", {"$ref": "#/components/schemas/BackupDetails"}),
    "Backups": _list("backups", "BackupDetails"),
    "Instance": _wrapped("instance", {"$ref": "#/components/schemas/InstanceDetails"}),
    "Instances": _list("instances", "InstanceDetails"),
    "CreateBackup": _wrapped(
        "backup",
        _object(
            {
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 64,
                    "description": "At least one letter or digit, and no control characters.",
                },
                "instance": {**_UUID, "description": "The database instance."},
                "description": _or_null({"type": "string", "minLength": 1, "maxLength": 512}),
                "parent_id": {
                    **_or_null(_UUID),
                    "description": "Take an incremental of this backup, which must be COMPLETED.",
                },
                "incremental": {
                    "enum": [0, 1, False, True],
                    "description": "Take an incremental of the newest COMPLETED backup. `parent_id` wins over it.",
                },
            },
            optional=("description", "parent_id", "incremental"),
        ),
    ),
    "DatabaseDetails": _DATABASE,
    "UserDetails": _USER,
    "OperationDetails": _OPERATION,
    "Databases": _list("databases", "DatabaseDetails"),
    "Users": _list("users", "UserDetails"),
    "Operation": _wrapped("operation", {"$ref": "#/components/schemas/OperationDetails"}),
    "CreateDatabases": _wrapped("databases", {"type": "array", "minItems": 1, "maxItems": 100, "items": _NEW_DATABASE}),
    "CreateUsers": _wrapped("users", {"type": "array", "minItems": 1, "maxItems": 100, "items": _NEW_USER}),
    "Action": {
        "oneOf": [
            {**_object({name: _or_null({"type": "object", "maxProperties": 0})}), "additionalProperties": False}
            for name in (InstanceCommandType.RESTART.action, InstanceCommandType.STOP.action)
        ]
    },
    "Limits": _wrapped("limits", {"type": "array", "items": _LIMIT}),
    "Version": _wrapped("version", _VERSION),
    "Versions": _wrapped("versions", {"type": "array", "items": _VERSION}),
    "Health": _object({"healthy": {"type": "boolean"}, "database": _TEXT, "broker": _TEXT}),
}

_NEW = {
    "created": "2014-02-13T21:47:16",
    "description": "My Backup",
    "id": "61f12fef-edb1-4561-8122-e7c00ef26a82",
    "instance_id": "d4603f69-ec7e-4e9b-803f-600b9205576f",
    "locationRef": None,
    "name": "snapshot",
    "parent_id": None,
    "project_id": "1234",
    "size": None,
    "status": "NEW",
    "updated": "2014-02-13T21:47:16",
    "checksum": None,
    "progress": 0,
    "error": None,
    "verified_at": None,
}
_INCREMENTAL = {
    **_NEW,
    "created": "2014-10-30T12:30:00",
    "datastore": {"type": "mysql", "version": "5.5", "version_id": "b00000b0-00b0-0b00-00b0-000b000000bb"},
    "description": "My Incremental Backup",
    "id": "2e351a71-dd28-4bcb-a7d6-d36a5b487173",
    "instance_id": "44b277eb-39be-4921-be31-3d61b43651d7",
    "name": "Incremental Snapshot",
    "parent_id": "a9832168-7541-4536-b8d9-a8a9b79cf1b4",
    "updated": "2014-10-30T12:30:00",
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "CreateBackup": {
        "full": {
            "backup": {
                "description": "My Backup",
                "instance": "d4603f69-ec7e-4e9b-803f-600b9205576f",
                "name": "snapshot",
            }
        },
        "incremental": {
            "backup": {
                "description": "My Incremental Backup",
                "instance": "44b277eb-39be-4921-be31-3d61b43651d7",
                "name": "Incremental Snapshot",
                "parent_id": "a9832168-7541-4536-b8d9-a8a9b79cf1b4",
            }
        },
    },
    "Backup": {"full": {"backup": _NEW}, "incremental": {"backup": _INCREMENTAL}},
    "CreateDatabases": {
        "two": {"databases": [{"name": "shop", "character_set": "utf8mb4", "collate": "utf8mb4_bin"}, {"name": "blog"}]}
    },
    "CreateUsers": {
        "one": {"users": [{"name": "clerk", "password": "a secret", "host": "%", "databases": [{"name": "shop"}]}]}
    },
    "Action": {"restart": {"restart": {}}, "stop": {"stop": {}}},
    "Databases": {"one": {"databases": [{"name": "shop", "character_set": "utf8mb4", "collate": "utf8mb4_bin"}]}},
    "Users": {"one": {"users": [{"name": "clerk", "host": "%", "databases": [{"name": "shop"}]}]}},
    "Operation": {
        "rejected": {
            "operation": {
                "id": "6f7c2a0e-6df1-4b3c-8c5f-0e2f0a4f6b11",
                "instance_id": "d4603f69-ec7e-4e9b-803f-600b9205576f",
                "action": "delete_database",
                "status": "REJECTED",
                "created": "2026-11-25T15:00:02",
                "finished": "2026-11-25T15:00:02",
                "error": {
                    "code": "instance_busy",
                    "message": "instance is busy: backup 61f12fef-edb1-4561-8122-e7c00ef26a82 is being taken",
                    "hint": "Ask again when that has ended.",
                },
                "backup_id": "61f12fef-edb1-4561-8122-e7c00ef26a82",
            }
        }
    },
    "fault404": {
        "unknown": {
            "itemNotFound": {
                "code": 404,
                "message": "Resource 61f12fef-edb1-4561-8122-e7c00ef26a82 cannot be found.",
            }
        }
    },
    "fault422": {
        "busy": {
            "unprocessableEntity": {
                "code": 422,
                "message": "Instance d4603f69-ec7e-4e9b-803f-600b9205576f is not currently available for an action "
                "to be performed (instance status was BACKUP).",
            }
        }
    },
}
