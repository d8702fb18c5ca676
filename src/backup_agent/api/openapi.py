"""The API's description of itself, OpenAPI 3.1: what the routes' declarations refer to, and the document as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Path
from fastapi.openapi.utils import get_openapi

from backup_agent.api import faults
from backup_agent.api.examples import EXAMPLES, SCHEMAS
from backup_agent.version import __version__

AccountId = Annotated[str, Path(description="The account of the token.")]
BackupId = Annotated[str, Path(description="A UUID.", json_schema_extra={"format": "uuid"})]
InstanceId = Annotated[str, Path(description="A UUID.", json_schema_extra={"format": "uuid"})]
OperationId = Annotated[str, Path(description="From `X-Operation-ID`. A UUID.", json_schema_extra={"format": "uuid"})]
DatabaseName = Annotated[str, Path(description="URL-encoded.")]
UserName = Annotated[str, Path(description="`name@host`, or `name` for the host `%`; URL-encoded.")]

OPERATION_HEADER = "X-Operation-ID"
"""Of answers to changes of an instance."""

_MEANINGS = {
    400: "Something in the request is missing or wrong.",
    401: "There is no token in `X-Auth-Token`, or it is not valid.",
    403: "The token belongs to another account.",
    404: "There is no such backup, instance, parent, database or user; or it is another account's.",
    413: "The quota of backups or the rate of requests (then with `Retry-After`) is exceeded, or the body too large.",
    415: "The body is not JSON.",
    422: "A backup of the instance is under way, or the backup to be deleted runs.",
    500: "The instance's agent has begun, and failed; the message says why.",
    501: "The instance's datastore has no backups; or its agent does not offer this operation.",
    503: "The agents or the database can't be reached.",
}
_ALWAYS = (401, 403, 413, 503)
_TOKEN = {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}
_REFERENCE = "#/components/schemas/"
_OPEN = ("/", "/v1.0/", "/healthcheck", "/openapi.json", "/docs")


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


PAGE_PARAMETERS: list[dict[str, Any]] = [
    _parameter("limit", {"type": "integer", "minimum": 1}, "How many at most: 20 by default, never more than 100."),
    _parameter("marker", {"type": "string"}, "From the `next` link of the page before."),
]
LIST_PARAMETERS: list[dict[str, Any]] = [
    *PAGE_PARAMETERS,
    _parameter("instance_id", {"type": "string", "format": "uuid"}, "Backups of this instance alone."),
    _parameter("datastore", {"type": "string"}, "Backups of this kind of database alone, such as `mariadb`."),
    _parameter("all_projects", {"type": "boolean"}, "Of all accounts; for administrators."),
    _parameter("project_id", {"type": "string"}, "Of this account; another than one's own for administrators."),
]


def answers(status: int, schema: str | None, *, also: Sequence[int] = ()) -> dict[int | str, dict[str, Any]]:
    """`schema` is one of SCHEMAS; None for an answer without a body. `also` are the faults of this route alone."""
    good: dict[str, Any] = {"description": "Done." if status == 200 else "Asked for."}  # noqa: PLR2004 - as HTTP has it
    if schema is not None:
        good["content"] = _content(schema)
    return {status: good, **{code: _fault(code) for code in also}}


def changes(*, also: Sequence[int] = ()) -> dict[int | str, dict[str, Any]]:
    """Of a route that changes an instance: 202 without a body, and the faults that all of them have."""
    declared = answers(202, None, also=(404, 422, 500, 501, *also))
    declared[202] = {
        "description": "Done; or asked for, when the agent has not answered soon.",
        "headers": {OPERATION_HEADER: {"description": "By which it can be looked up.", "schema": {"type": "string"}}},
    }
    return declared


def body_of(schema: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": _content(schema)}}


def describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="backup-agent",
        version=__version__,
        summary="Backups of databases, as OpenStack Trove and Rackspace Cloud Databases have them.",
        description="Each answer has the header `X-OpenStack-Request-ID`, which names the request in the server's log.",
        routes=app.routes,
    )
    document["components"] = {"schemas": {**SCHEMAS, **_fault_schemas()}, "securitySchemes": _TOKEN}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            for status in [status for status in responses if status == "422" and "422" not in _declared(operation)]:
                del responses[status]
            if path not in _OPEN:
                operation["security"] = [{"token": []}]
                responses |= {str(code): _fault(code) for code in _ALWAYS if str(code) not in responses}
            for holder in (operation.get("requestBody", {}), *responses.values()):
                _show_examples(holder)
    return document


def _show_examples(holder: dict[str, Any]) -> None:
    """Only now: the framework drops what is null from its document, and our examples have nulls."""
    content = holder.get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").removeprefix(_REFERENCE)
    if name in EXAMPLES:
        content["examples"] = {title: {"value": value} for title, value in EXAMPLES[name].items()}


def _declared(operation: dict[str, Any]) -> set[str]:
    """Statuses that a route itself declares; the framework adds a 422 of its own shape, which we never answer."""
    return {
        status
        for status, answer in operation["responses"].items()
        if f"{_REFERENCE}fault" in str(answer.get("content", {}).get("application/json", {}).get("schema", {}))
    }


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_REFERENCE}{schema}"}}}


def _fault(code: int) -> dict[str, Any]:
    return {"description": _MEANINGS[code], "content": _content(f"fault{code}")}


def _fault_schemas() -> dict[str, Any]:
    details = {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    }
    schemas: dict[str, Any] = {
        f"fault{code}": {"type": "object", "required": [name], "properties": {name: details}}
        for code, name in faults.NAMES.items()
    }
    # The health check's 503 is an answer, not a fault.
    schemas["fault503"] = {"anyOf": [schemas["fault503"], {"$ref": "#/components/schemas/Health"}]}
    return schemas
