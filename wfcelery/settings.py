"""Every setting, its default and its unit. Spans are seconds.

A value comes from, first to last: the call `install(app, ...)`, the environment (`WFCELERY_...`), the
app's own configuration (Django `WFCELERY = {...}`, Flask `app.config["WFCELERY"]`, Celery
`app.conf.wfcelery_...`), the default.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from wfcelery.errors import Misconfigured


class Settings(BaseSettings):
    """What a process of wfcelery goes by; frozen."""

    model_config = SettingsConfigDict(env_prefix="WFCELERY_", frozen=True, extra="forbid")

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
    organization_id: str = Field(default="default", description="The organization of runs that name none.")
    input_limit: int = Field(default=1_048_576, ge=1, description="Bytes of a run's input, of a step's input and of a result, as stored.")

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
