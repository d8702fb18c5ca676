"""What a request is answered with when it can't be done, in Trove's words: `{"itemNotFound": {"code": 404, ...}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflict",
    413: "overLimit",
    415: "badMediaType",
    422: "unprocessableEntity",
    500: "instanceFault",
    501: "notImplemented",
    503: "serviceUnavailable",
}


class Fault(Exception):  # noqa: N818 - the API's own word
    """Raised by whoever finds it; answered by the API as it is. The message is for the user: nothing secret in it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """`status` is one of NAMES."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def body(status: int, message: str) -> dict[str, Any]:
    return {NAMES[status]: {"code": status, "message": message}}


def response(fault: Fault) -> JSONResponse:
    return JSONResponse(body(fault.status, fault.message), fault.status, fault.headers)


def bad_request(message: str) -> Fault:
    return Fault(400, message)


def unauthorized() -> Fault:
    return Fault(401, "The request has no valid token in the header X-Auth-Token.")


def forbidden(message: str = "The token does not belong to the account in the path.") -> Fault:
    return Fault(403, message)


def not_found(resource_id: str) -> Fault:
    return Fault(404, f"Resource {resource_id[:64]} cannot be found.")


def no_such_path() -> Fault:
    return Fault(404, "The resource could not be found.")


def bad_method(allowed: str) -> Fault:
    return Fault(405, "The method is not allowed for this resource.", {"Allow": allowed} if allowed else {})


def too_large(limit: int) -> Fault:
    return Fault(413, f"The body of the request has more than {limit} bytes.")


def quota(limit: int) -> Fault:
    return Fault(413, f"Quota exceeded for resource backups: the account may have {limit}.")


def rate(limit: int, verb: str, seconds: int) -> Fault:
    return Fault(
        413,
        f"This request was rate-limited: {limit} {verb} requests a minute are allowed. Try again in {seconds} s.",
        {"Retry-After": str(seconds)},
    )


def bad_media_type() -> Fault:
    return Fault(415, "The body must be application/json, in UTF-8.")


def instance_busy(instance_id: str, status: str = "BACKUP", *, because: str = "") -> Fault:
    """`because` is a sentence more."""
    return Fault(
        422,
        f"Instance {instance_id} is not currently available for an action to be performed "
        f"(instance status was {status}).{because and ' '}{because}",
    )


def backup_running(backup_id: str) -> Fault:
    return Fault(422, f"Backup {backup_id} cannot be deleted because it is running.")


def internal() -> Fault:
    return Fault(500, "The server encountered an internal error. The request id in the headers names it in the log.")


def no_backups_of(datastore: str) -> Fault:
    return Fault(501, f"The datastore {datastore[:64]} has no backups.")


def no_operations_on(datastore: str) -> Fault:
    return Fault(501, f"Instances of the datastore {datastore[:64]} have no operations.")


def unavailable(message: str) -> Fault:
    return Fault(503, message)
