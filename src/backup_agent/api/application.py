"""The ASGI application: routes, what they answer when they can't, and what surrounds them."""

from __future__ import annotations

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from backup_agent.api import faults
from backup_agent.api.gate import Gate
from backup_agent.api.openapi import describe
from backup_agent.api.routes import (
    actions,
    backups,
    databases,
    documentation,
    health,
    instances,
    limits,
    operations,
    users,
    versions,
)
from backup_agent.api.services import Services
from backup_agent.api.watching import RequestMetrics, Watching
from backup_agent.errors import CatalogueError

log = structlog.get_logger(__name__)


def application(services: Services, metrics: RequestMetrics) -> ASGIApp:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    app.state.methods = []
    tried = (backups, instances, databases, users, actions, operations, limits, versions, health, documentation)
    for module in tried:  # in this order
        app.include_router(module.router)
        app.state.methods += [
            (route.path_regex, route.methods) for route in module.router.routes if isinstance(route, APIRoute)
        ]
    app.add_exception_handler(faults.Fault, _on_fault)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(CatalogueError, _on_catalogue_error)
    app.add_exception_handler(Exception, _on_error)
    app.state.openapi = describe(app)
    return Watching(Gate(app, services), metrics)


async def _on_fault(_: Request, error: Exception) -> Response:
    return faults.response(error if isinstance(error, faults.Fault) else faults.internal())


async def _on_http_error(request: Request, error: Exception) -> Response:
    """The router's own: 404 and 405."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:  # noqa: PLR2004 - as HTTP has it
        return faults.response(faults.no_such_path())
    if status == 405:  # noqa: PLR2004 - the same
        return faults.response(faults.bad_method(_allowed(request)))
    return faults.response(faults.bad_request("The request can't be understood."))


def _allowed(request: Request) -> str:
    """All methods of the path: the router only knows those of its first route."""
    methods: set[str] = set()
    for path, of_route in request.app.state.methods:
        if path.match(request.scope["path"]):
            methods |= of_route
    return ", ".join(sorted(methods))


async def _on_invalid(_: Request, __: Exception) -> Response:
    return faults.response(faults.bad_request("The request can't be understood."))


async def _on_catalogue_error(_: Request, error: Exception) -> Response:
    if isinstance(error, CatalogueError):
        log.error("the catalogue can't be used", code=error.code.value, reason=error.message, hint=error.hint)
    return faults.response(faults.unavailable("The service is not available at the moment. Try again later."))


async def _on_error(_: Request, __: Exception) -> Response:
    """What failed is raised again afterwards, and logged by `watching`."""
    return faults.response(faults.internal())
