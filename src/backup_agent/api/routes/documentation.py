"""The API's description of itself: for programs, and as a page for people, made of the same and of nothing foreign."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

router = APIRouter(include_in_schema=False)
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "h2{border-top:1px solid #888;padding-top:1rem;font:bold 1.1rem monospace}"
    "pre{background:#8882;padding:.7rem;overflow:auto}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
    ":root{color-scheme:light dark}"
)
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.state.openapi)


@router.get("/docs")
async def page(request: Request) -> HTMLResponse:
    document = request.app.state.openapi
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(document['info']['title'])}</title>",
        f"<style>{_STYLE}</style><h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>",
        f"<p>{escape(document['info']['summary'])} <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(path, method, operation)
    return HTMLResponse("".join(parts), headers=_POLICY)


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation.get('summary', ''))}. "]
    parts.append(f"{escape(operation.get('description', ''))}</p>")
    parts += _table(
        (parameter["name"], parameter.get("description", ""))
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    )
    parts += _examples("Request", operation.get("requestBody", {}))
    parts += _table((status, answer["description"]) for status, answer in sorted(operation["responses"].items()))
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            parts += _examples(status, answer)
    return parts


def _table(rows: Any) -> list[str]:  # noqa: ANN401 - an iterable of pairs
    return ["<table>", *(f"<tr><td><code>{escape(a)}</code><td>{escape(b)}" for a, b in rows), "</table>"]


def _examples(title: str, holder: dict[str, Any]) -> list[str]:
    examples = holder.get("content", {}).get("application/json", {}).get("examples", {})
    return [
        f"<p>{escape(title)}, {escape(name)}:</p><pre>{escape(json.dumps(example['value'], indent=2))}</pre>"
        for name, example in examples.items()
    ]
