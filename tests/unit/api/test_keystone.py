"""A Keystone that is away."""

from __future__ import annotations

import warnings

import pytest
from pydantic import SecretStr

from backup_agent.api.faults import Fault
from backup_agent.api.keystone import KeystoneAuthenticator
from backup_agent.api.settings import KeystoneConfig


def test_without_keystone_nobody_is_let_in_or_called_unknown() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the middleware's own
        authenticator = KeystoneAuthenticator(
            KeystoneConfig(auth_url="http://127.0.0.1:1/v3", password=SecretStr("throw-away"))
        )
        with pytest.raises(Fault) as caught:
            authenticator.caller("any token")
    assert caught.value.status == 503
