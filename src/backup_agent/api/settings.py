"""The control plane's configuration: one TOML file, parsed once into frozen values.

Unknown and invalid keys are fatal, named by their full path. Any key can be overridden by the environment:
`BACKUP_API_DATABASE__URL` is `database.url`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from backup_agent.broker.settings import BrokerSettings
from backup_agent.config import connecting, loading
from backup_agent.config.loading import FileSettings, Kind
from backup_agent.config.section import Section, Text
from backup_agent.config.serving import BrokerConfig, LogConfig

DEFAULT_PATH = Path("/etc/backup-agent/backup-api.toml")
CONFIG_FILE_VARIABLE = "BACKUP_API_CONFIG_FILE"
_READER = "API"
_KIND = Kind(
    prefix="BACKUP_API_",
    file_variable=CONFIG_FILE_VARIABLE,
    example="config/backup-api.toml",
    example_key="DATABASE__URL",
    reference="docs/reference/api-configuration.md",
)


class HttpConfig(Section):
    """Where the API is served. TLS is the business of a proxy in front."""

    host: Text = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8779
    """Trove's port; 0 takes a free one, which the log names."""
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that answer requests."""
    public_url: Text | None = None
    """What clients call this API by, such as `https://databases.example.org`, for links; without it, what the request
    says."""
    forwarded_allow_ips: Text = "127.0.0.1"
    """Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, with commas between; `*` for all."""
    max_body_kib: Annotated[int, Field(ge=1, le=10_240)] = 64
    """The largest body of a request."""
    stop_within_s: Annotated[float, Field(ge=1, le=600)] = 20
    """How long requests under way, and the last messages, may take when the API is stopped."""


class DatabaseConfig(Section):
    """The catalogue of all backups."""

    url: SecretStr = SecretStr("sqlite:////var/lib/backup-api/catalogue.db")
    """`sqlite:////path`, `postgresql+psycopg://user@host/database` or `mariadb+pymysql://user@host/database`."""
    password_file: Path | None = None
    """A file that holds the password, for a URL without one."""
    pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    """Connections of each worker at most."""


class AuthConfig(Section):
    """Who may ask."""

    kind: Literal["tokens", "keystone"] = "tokens"
    """Tokens of a file (`backup-agent api token`), or OpenStack's Keystone."""
    tokens_file: Path = Path("/var/lib/backup-api/tokens.json")
    """Holds the tokens' SHA-256; changes are seen at once."""


class KeystoneConfig(Section):
    """With `auth.kind = "keystone"`; needs the extra `[keystone]`. The account is the token's project."""

    auth_url: Text | None = None
    """Such as `https://keystone.example.org/v3`."""
    username: Text = "backup-api"
    """The service user that looks tokens up."""
    password: SecretStr | None = None
    """Its password."""
    password_file: Path | None = None
    """A file that holds it."""
    user_domain_name: Text = "Default"
    """The user's domain."""
    project_name: Text = "service"
    """The user's project."""
    project_domain_name: Text = "Default"
    """The project's domain."""
    ca_file: FilePath | None = None
    """CA certificates to trust for Keystone."""
    admin_role: Text = "admin"
    """Who has this role may ask for all accounts."""
    cache_s: Annotated[float, Field(ge=0, le=3600)] = 60
    """How long an answer of Keystone's is believed: a revoked token works no longer than that."""


class LimitsConfig(Section):
    """What one account may do. Past it, requests are answered 413 overLimit. Rates hold for this host, all workers."""

    backups_per_account: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    """Backups in the catalogue, however they came there; none can be asked for beyond."""
    get_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = 600
    """GET requests."""
    post_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """POST requests."""
    delete_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """DELETE requests."""


class AgentsConfig(Section):
    """How long agents and the broker may be silent."""

    silent_after_s: Annotated[float, Field(ge=1, le=86_400)] = 300
    """A running backup of which nothing was heard for so long has FAILED (agent_lost). Longer than ten heartbeats."""
    start_within_s: Annotated[float, Field(ge=1, le=604_800)] = 3600
    """A command that its agent has not taken by then is not carried out any more."""
    broker_away_s: Annotated[float, Field(ge=5, le=86_400)] = 300
    """When the broker has been away for so long, new backups are answered 503; before, their commands wait."""
    forget_deleted_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    """How long the ids of deleted backups are remembered, so that late events do not bring them back."""


class OperationsConfig(Section):
    """Operations on instances: their databases and users, restart, stop, delete."""

    change_wait_s: Annotated[float, Field(ge=0, le=60)] = 5
    """How long a request for a change waits for the agent's answer; then it is answered 202 all the same."""
    list_wait_s: Annotated[float, Field(ge=0, le=60)] = 10
    """How long a request for a list waits for it; then it is answered 503."""
    begin_within_s: Annotated[float, Field(ge=1, le=86_400)] = 300
    """What the agent has not begun by then is not carried out any more."""
    remember_s: Annotated[float, Field(ge=60, le=31_536_000)] = 86_400
    """How long it can be looked up what became of an operation."""


class MetricsConfig(Section):
    """Prometheus metrics; off by default."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """`backup-agent api run` answers `http://127.0.0.1:PORT/metrics`."""


class ApiConfig(FileSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=_KIND.prefix, env_nested_delimiter="__", env_nested_max_split=2
    )

    http: HttpConfig = HttpConfig()
    database: DatabaseConfig = DatabaseConfig()
    broker: BrokerConfig = BrokerConfig()
    auth: AuthConfig = AuthConfig()
    keystone: KeystoneConfig = KeystoneConfig()
    limits: LimitsConfig = LimitsConfig()
    agents: AgentsConfig = AgentsConfig()
    operations: OperationsConfig = OperationsConfig()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _keystone_is_named(self) -> ApiConfig:
        if self.auth.kind == "keystone" and self.keystone.auth_url is None:
            msg = "auth.kind is keystone, but keystone.auth_url is not set"
            raise ValueError(msg)
        return self


def load(path: Path) -> ApiConfig:
    """Raises ConfigError (`config_invalid`) naming the file and every key that is wrong."""
    return loading.load(ApiConfig, path, _KIND)


def read_secret(secret: SecretStr | None, file: Path | None, name: str) -> str | None:
    """The secret, from the key or from the file that the key `name` names. Raises ConfigError for an unreadable one."""
    return loading.read_secret(secret, file, name, reader=_READER)


def broker_settings(broker: BrokerConfig) -> BrokerSettings:
    """Raises ConfigError (`config_invalid`), also for certificates that can't be used."""
    return connecting.broker_settings(
        broker,
        without="commands can't reach any agent",
        hint="Set broker.urls to the RabbitMQ that the agents use.",
        reader=_READER,
    )
