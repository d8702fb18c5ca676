"""Logging in: a user and a key become a token and the URL of an account's storage.

Swift's own v1 (tempauth, RGW and many providers) and Keystone v3, by password or application credential. Nothing is
kept here, nothing is retried: `swift_tokens` does the former, `storage.retry` the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import requests
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from backup_agent.storage.swift_client import SwiftOptions, trust
from backup_agent.storage.swift_errors import NO_LOGIN_THERE, failure, login_refusal, translated


@dataclass(frozen=True, slots=True, eq=False)
class Login:
    """A token, whose account it opens at first, and for how many seconds it is good (`inf` when nobody says)."""

    token: str = field(repr=False)
    storage_url: str
    lifetime: float


def login_of(options: SwiftOptions, session: requests.Session) -> Callable[[], Login]:
    """What to call for a new token. It raises StoreError (`store_denied`, `store_failed`) and TransientStoreError."""
    if options.auth == "v1":
        return lambda: _login_v1(options, session)
    keystone = Session(session=session, verify=trust(options), redirect=False)
    return lambda: _login_v3(options, keystone)


def _login_v1(options: SwiftOptions, session: requests.Session) -> Login:
    place = options.auth_url
    headers = {"X-Auth-User": (options.user or "").encode(), "X-Auth-Key": options.key.encode()}
    with translated("log in at", place):
        answer = session.get(place, headers=headers, allow_redirects=False, stream=True, verify=trust(options))
        with answer:
            if answer.status_code not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                raise login_refusal(place, answer)
            answer.raw.read(1 << 16)  # of no interest; but a connection whose answer was read to its end is used again
    token = answer.headers.get("X-Auth-Token") or answer.headers.get("X-Storage-Token")
    storage_url = options.storage_url or answer.headers.get("X-Storage-Url")
    if not token or not storage_url:
        raise failure(
            NO_LOGIN_THERE, "log in at", place, "the answer has no X-Auth-Token and X-Storage-Url: is it a v1 login?"
        )
    return Login(token, storage_url, _seconds(answer.headers.get("X-Auth-Token-Expires")))


def _login_v3(options: SwiftOptions, session: Session) -> Login:
    with translated("log in at", options.auth_url):
        try:
            access = _plugin(options).get_auth_ref(session)
            storage_url = options.storage_url or access.service_catalog.url_for(
                service_type="object-store", interface=options.interface, region_name=options.region
            )
        except (KeyError, TypeError, ValueError) as error:
            raise failure(NO_LOGIN_THERE, "log in at", options.auth_url, "the answer is not Keystone's") from error
    if access.auth_token is None or storage_url is None or access.expires is None or access.issued is None:
        raise failure(
            NO_LOGIN_THERE, "log in at", options.auth_url, "the answer lacks a token, its times or an endpoint"
        )
    # Both times are Keystone's: this host's clock need not agree with it.
    return Login(access.auth_token, storage_url, (access.expires - access.issued).total_seconds())


def _plugin(options: SwiftOptions) -> v3.Password | v3.ApplicationCredential:
    if options.application_credential_id is not None:
        return v3.ApplicationCredential(
            options.auth_url, options.key, application_credential_id=options.application_credential_id
        )
    return v3.Password(
        options.auth_url,
        options.key,
        username=options.user,
        user_domain_name=options.user_domain,
        project_id=options.project_id,
        project_name=None if options.project_id else options.project,
        project_domain_name=None if options.project_id else options.project_domain,
    )


def _seconds(text: str | None) -> float:
    try:
        return math.inf if text is None else float(text)
    except ValueError:
        return math.inf  # a date, say: then a refusal (401) will tell that the token has expired
