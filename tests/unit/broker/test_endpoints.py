"""Which brokers the URLs name, who asks, and what is said of URLs that can't be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backup_agent.broker.connection import check_settings
from backup_agent.broker.endpoint import Endpoint, endpoints
from backup_agent.broker.settings import BrokerSettings
from backup_agent.errors import ConfigError, ErrorCode
from tests.servers.authority import Authority


def settings(*urls: str, **more: Any) -> BrokerSettings:
    return BrokerSettings(urls, **{"user": "agent", "password": "secret", **more})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://host", Endpoint("host", 5672, "/", tls=False, user="agent", password="secret")),
        ("amqps://host/", Endpoint("host", 5671, "/", tls=True, user="agent", password="secret")),
        ("amqp://host:1/%2F", Endpoint("host", 1, "/", tls=False, user="agent", password="secret")),
        ("amqp://host/db%2Fbackups", Endpoint("host", 5672, "db/backups", tls=False, user="agent", password="secret")),
        ("amqp://[::1]:1/v", Endpoint("::1", 1, "v", tls=False, user="agent", password="secret")),
        ("amqp://a%40b:p%2Fw@host", Endpoint("host", 5672, "/", tls=False, user="a@b", password="p/w")),
        ("amqp://other@host", Endpoint("host", 5672, "/", tls=False, user="other", password="secret")),
        ("amqp://other:@host", Endpoint("host", 5672, "/", tls=False, user="other", password="")),
    ],
)
def test_a_url_names_a_broker(url: str, expected: Endpoint) -> None:
    assert endpoints(settings(url)) == (expected,)


def test_brokers_keep_their_order() -> None:
    assert [str(one) for one in endpoints(settings("amqp://b", "amqp://[::1]"))] == ["b:5672", "[::1]:5672"]


def test_a_certificate_without_a_user_logs_in_by_itself() -> None:
    made = endpoints(settings("amqps://host", user=None, cert_file=Path("cert.pem"), key_file=Path("key.pem")))

    assert made[0].user is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://agent:hidden@host", "broker.urls.0 is of no known kind"),
        ("amqp://agent:hidden@", "broker.urls.0 names no host"),
        ("amqp://agent:hidden@host:port", "broker.urls.0 can't be read"),
        ("amqp://agent:hidden@host:70000", "broker.urls.0 can't be read"),
        ("amqp://agent:hidden@[host", "broker.urls.0 can't be read"),
        ("amqp://agent:hidden@host/?heartbeat=1", "broker.urls.0 has a query or a fragment"),
        ("amqp://agent:hidden@host/a/b", "broker.urls.0 has a virtual host with a slash"),
        ("agent:hidden@host", "broker.urls.0 is of no known kind"),
    ],
)
def test_a_bad_url_is_refused_without_being_shown(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoints(settings(url))

    assert (caught.value.code, caught.value.message) == (ErrorCode.CONFIG_INVALID, why)
    assert "hidden" not in caught.value.message + caught.value.hint


def test_without_a_user_a_certificate_and_tls_are_needed() -> None:
    for url, more in (("amqps://host", {}), ("amqp://host", {"cert_file": Path("c"), "key_file": Path("k")})):
        with pytest.raises(ConfigError, match=r"broker\.urls\.0 is without a user"):
            endpoints(settings(url, user=None, **more))


def test_without_urls_there_is_no_broker() -> None:
    with pytest.raises(ConfigError, match=r"broker\.urls holds no URL"):
        endpoints(settings())


def test_settings_show_no_password() -> None:
    made = settings("amqp://agent:hidden@host")

    assert "hidden" not in repr(made)
    assert "secret" not in repr(made)
    assert "hidden" not in repr(endpoints(made))


def test_certificates_are_looked_at_early(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).client("agent")
    check_settings(settings("amqps://host", ca_file=tmp_path / "ca.pem", cert_file=certificate, key_file=key))

    key.write_text("no key")
    with pytest.raises(ConfigError, match="the certificates for the broker can't be used"):
        check_settings(settings("amqps://host", cert_file=certificate, key_file=key))
