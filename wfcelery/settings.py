"""Every setting, its default and its unit. Spans are seconds.

A value comes from, first to last: the call `install(app, ...)`, the environment (`WFCELERY_...`), the
app's own configuration (Django `WFCELERY = {...}`, Flask `app.config["WFCELERY"]`, Celery
`app.conf.wfcelery_...`), the default.
"""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from wfcelery.errors import Misconfigured

# ---- what built-in steps may reach -----------------------------------------------------------------------------------

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def _host(name: str) -> str:
    name = name.lower()
    if not _HOST.fullmatch(name):
        raise ValueError("a host is a name such as api.example.com, without scheme, port and path")
    return name


def _reachable(entry: str) -> str:
    try:
        return str(ip_network(entry))
    except ValueError:
        if re.fullmatch(r"[0-9./]+|.*[:/].*", entry):
            raise ValueError("an entry is an address, a network such as 10.2.0.0/16, or the name of a host") from None
    return _host(entry)


def _signing_key(secret: SecretStr) -> SecretStr:
    kind, _, encoded = secret.get_secret_value().partition("_")
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except binascii.Error:
        size = 0
    if kind != "whsec" or not 24 <= size <= 64:
        raise ValueError("a secret for webhooks is whsec_ and 24 to 64 random bytes in base64")
    return secret


def _mail_server(url: SecretStr) -> SecretStr:
    try:
        found = urlsplit(url.get_secret_value())
        known = found.scheme in ("smtp", "smtps", "smtp+plain") and found.hostname and (found.port is None or found.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ValueError("a mail server is smtp://user:password@host:587, smtps://… or smtp+plain://… (no TLS)")
    return url


def _database(url: SecretStr) -> SecretStr:
    if url.get_secret_value() != "own" and "://" not in url.get_secret_value():
        raise ValueError('a database is a URL as SQLAlchemy writes it, or "own", the one that holds wfcelery\'s tables')
    return url


HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


def _header(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x20-\x7e]+", value.get_secret_value()):
        raise ValueError("a header's value is one line of ASCII")
    return value


class Credentials(BaseModel):
    """Headers that `wf.http` sends to these hosts, over TLS, and to no other."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Field(min_length=1)]
    headers: Annotated[dict[HeaderName, Annotated[SecretStr, AfterValidator(_header)]], Field(min_length=1)]


Reachable = Annotated[str, AfterValidator(_reachable)]
SigningKey = Annotated[SecretStr, AfterValidator(_signing_key)]
SigningKeys = Annotated[
    tuple[SigningKey, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str | SecretStr) else given), Field(min_length=1)
]
MailServer = Annotated[SecretStr, AfterValidator(_mail_server)]
DatabaseURL = Annotated[SecretStr, AfterValidator(_database)]


# ---- all settings ----------------------------------------------------------------------------------------------------


class Settings(BaseSettings):
    """What a process of wfcelery goes by; frozen."""

    model_config = SettingsConfigDict(env_prefix="WFCELERY_", frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: str | None = Field(
        default=None, description="Where the tables are. Django projects: their DATABASES['default'] unless set."
    )
    run_ahead: float = Field(
        default=1.0,
        ge=0,
        description="Seconds for which one message may carry on with the steps it makes ready; 0: one message per attempt.",
    )
    lease: float = Field(default=30.0, ge=1, description="Seconds after which a silent worker is lost; at least three times poll.")
    poll: float = Field(default=1.0, gt=0, description="Seconds between two sweeps of a sweeping process.")
    idle_poll: float = Field(default=10.0, gt=0, description="Seconds between two looks of a process that does not sweep.")
    batch: int = Field(
        default=100, ge=1, le=10_000, description="Rows that one pass of a sweep takes at a time; it drains until nothing is due."
    )
    ring_again: float = Field(default=5.0, gt=0, description="Seconds after which a step that nobody took is rung again.")
    park_for: float = Field(default=86_400.0, ge=0, description="Seconds for which a call that cannot begin on this code is tried again.")
    park_pause: float = Field(default=5.0, gt=0, description="Seconds between two such tries.")
    retention: float = Field(default=2_592_000.0, ge=0, description="Seconds for which a run is kept after its end (30 days); 0: for ever.")
    expire_every: float = Field(
        default=60.0, ge=0, description="Seconds between two looks for what has expired, which beat asks for; 0: none."
    )
    events: bool = Field(default=True, description="Whether an event wakes the runs that wait for it; what is sent meanwhile is kept.")
    consumed_event_ttl: float = Field(
        default=86_400.0,
        ge=0,
        description="Seconds for which a consumed event is kept (24 h); one that nobody has consumed is kept for ever.",
    )
    transactional_timeout: float = Field(
        default=30.0, gt=0, description="Seconds a transactional step's own transaction may take, unless it has a timeout."
    )
    dispatch_queue: str | None = Field(default=None, description="The queue of wfcelery.dispatch; None: where the app's routes send it.")
    broker_loss: Literal["wait", "carry_on"] = Field(default="wait", description="What a prefork worker does while the broker is away.")
    carry_on_after: float = Field(
        default=30.0, ge=0, description="Seconds without a broker after which broker_loss='carry_on' starts a worker beside a prefork one."
    )
    mend_redis: bool = Field(default=True, description="Whether redis:// uses the transport that survives a restart of Redis.")
    strict_versions: bool = Field(default=False, description="Whether a changed body under a used version label is an error.")
    definitions: str | None = Field(default=None, description="A folder of YAML definitions that a worker publishes when it starts.")
    quota_hook: str | None = Field(
        default=None,
        description="Dotted path of a function that is asked whether a run may begin, or go on after a pause for quota.",
    )
    organization_id: str = Field(default="default", description="The organization of runs that name none.")
    input_limit: int = Field(default=1_048_576, ge=1, description="Bytes of a run's input, of a step's input and of a result, as stored.")
    max_depth: int = Field(default=16, ge=1, description="How many runs may be above a child run.")
    payload_by_reference: int = Field(
        default=65_536, ge=1, description="Bytes beyond which a value is kept beside its row, which holds a reference to it."
    )
    on_approval: str | None = Field(
        default=None, description="Dotted path of a function that is told, after the commit, what people are asked (ApprovalNotice)."
    )
    payload_store: str | None = Field(
        default=None, description="Dotted path of another store for such values: put, get and delete; None: the table wf_payload."
    )
    codec: str | None = Field(
        default=None, description="Dotted path of a codec through which values are stored, such as wfcelery.codecs.Encrypting."
    )
    secrets: str | None = Field(
        default=None, description="Dotted path of who is asked for secrets: get(name, organization_id); None: WFCELERY_SECRET_NAME."
    )
    outgoing_allowed: tuple[Reachable, ...] = Field(
        default=(),
        description="Addresses, networks and hosts inside that wf.http and wf.webhook may reach beside what is globally reachable.",
    )
    http_credentials: dict[str, Credentials] = Field(
        default_factory=dict, description="Headers with secrets by name, which wf.http(credentials=name) sends to their hosts alone."
    )
    webhook_secrets: dict[str, SigningKeys] = Field(
        default_factory=dict, description="Secrets by name with which wf.webhook signs; several of one name sign side by side."
    )
    email_url: MailServer | None = Field(default=None, description="The mail server of wf.email: smtp://user:password@host:587.")
    email_from: str | None = Field(default=None, description="The sender of wf.email where a definition names none.")
    sql_databases: dict[str, DatabaseURL] = Field(
        default_factory=dict, description='Databases of wf.sql by name: URLs, or "own" for the one that holds the tables.'
    )

    @classmethod
    def read(cls, app_values: dict[str, Any] | None = None, **given: Any) -> Settings:
        """The settings of this process: `given` before the environment, the environment before `app_values`."""
        from_environment = cls().model_dump(exclude_unset=True)
        settings = cls(**{**(app_values or {}), **from_environment, **given})
        if settings.lease < 3 * settings.poll:
            # A pause of half a lease between two sweeps counts as an outage, after which no lease is judged for a while.
            raise Misconfigured(
                f"a lease of {settings.lease:g} s needs a poll of at most {settings.lease / 3:g} s, not {settings.poll:g} s"
            )
        return settings
