"""An app that Sentry and OpenTelemetry watch. What they would send is written to a file instead."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import sentry_sdk
from celery import Celery
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

import wfcelery
from wfcelery import GiveUp, Retry, adopt, step, workflow


def told(what: str, name: str, whole: Any) -> None:
    """One line: what Sentry or OpenTelemetry was told."""
    with open(os.environ["OBSERVED"], "a") as file:
        file.write(json.dumps({"what": what, "name": name, "whole": str(whole)}) + "\n")


class ToFile(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            event = item.payload.json or {}
            if item.type == "event":
                told("error", event["exception"]["values"][-1]["type"], event)
            elif item.type == "transaction":
                told("transaction", event["transaction"], event)


class SpansToFile(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            told("span", span.name, span.to_json())
        return SpanExportResult.SUCCESS


sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=ToFile, integrations=[CeleryIntegration()], traces_sample_rate=1.0)
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(SpansToFile()))
CeleryInstrumentor().instrument(tracer_provider=provider)

app = Celery("observed", broker=os.environ["WFCELERY_TEST_BROKER_URL"], set_as_current=False)
app.conf.update(broker_connection_retry_on_startup=True)
wfcelery.install(app)

_attempts: dict[str, int] = {}


def fail_three_times(what: str) -> int:
    """One child executes all of it, so it can count."""
    _attempts[what] = _attempts.get(what, 0) + 1
    if _attempts[what] <= 3:
        raise ConnectionError("the other side hung up")
    return _attempts[what]


@step(retry=Retry(count=3, delay="0.05s", backoff="constant", jitter=False))
def flaky(secret: str) -> int:
    return fail_three_times("flaky")


@app.task(name="old.flaky", autoretry_for=(ConnectionError,), max_retries=3, default_retry_delay=0.05, retry_backoff=False)
def old_flaky(secret: str) -> int:
    return fail_three_times("old")


@app.task(name="old.broken")
def broken() -> None:
    raise ZeroDivisionError("an ordinary task of the app")


@step
def hopeless(secret: str) -> None:
    raise GiveUp("never")


@workflow
def patient(secret: str) -> int:
    return adopt("old.flaky", returns=int).options(after=flaky(secret))(secret)


@workflow
def doomed(secret: str) -> None:
    hopeless(secret)
