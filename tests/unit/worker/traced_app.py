"""Runs as a process of its own: sentry-sdk and OpenTelemetry patch Celery for good. Prints what they were told."""

from __future__ import annotations

import json
import sys
from typing import Any
from uuid import uuid4

import celery.app.trace as celery_trace
import sentry_sdk
from celery import Celery
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.integrations.celery import CeleryIntegration

from tests.unit.worker.folder import RUN, FolderEngine, call_of
from wfcelery.authoring.registry import Registry, StepSpec
from wfcelery.authoring.shape import Shape
from wfcelery.core.decision import RingRun
from wfcelery.definition.plan import RetryPolicy
from wfcelery.worker.installation import Installation


class Engine(FolderEngine):
    """Whatever message comes: one attempt of the step."""

    attempt = 0

    def dispatch(self, organization_id: str, run: Any) -> None:
        type(self).attempt += 1
        assert self.installation is not None
        self.installation.caller.call(call_of({"action": action, "input": {}}, uuid4(), RUN, uuid4(), self.attempt))


def flaky() -> str:
    if Engine.attempt <= failures:
        raise ValueError("not yet")
    return "done"


action, failures = sys.argv[1], int(sys.argv[2])
errors: list[str] = []
transactions: list[str] = []
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
sentry_sdk.init(
    dsn="http://key@127.0.0.1:9/1",
    integrations=[CeleryIntegration()],
    traces_sample_rate=1.0,
    before_send=lambda event, _: errors.append(event["exception"]["values"][-1]["type"]),  # type: ignore[arg-type,func-returns-value]
    before_send_transaction=lambda event, _: transactions.append(event["transaction"]),  # type: ignore[arg-type,func-returns-value]
)
CeleryInstrumentor().instrument(tracer_provider=provider)

app = Celery("traced", broker="wfmem://localhost//", set_as_current=False)
registry = Registry()
registry.add_step(StepSpec("shop.flaky", flaky, Shape("shop.flaky", flaky), "flaky", retry=RetryPolicy(count=3)))
app.task(name="old.flaky", shared=False, autoretry_for=(ValueError,), max_retries=3, default_retry_delay=0)(flaky)
made = Installation(app, lambda installation: Engine(None, installation), {}, registry)  # type: ignore[arg-type]
made.put()
for task in app.tasks.values():  # as a worker does when it starts
    task.__trace__ = celery_trace.build_tracer(task.name, task, app=app)

made.bell.ring([RingRun("default", RUN)])
for _ in range(4):
    message = {"v": 1, "ns": "folder", "org": "default", "run": str(RUN), "step": None}
    app.tasks["wfcelery.dispatch"].__trace__(str(uuid4()), (), message, {"headers": {}, "delivery_info": {"routing_key": "celery"}})
    if Engine.attempt > failures:
        break
sentry_sdk.flush()
spans = [span.name for span in exporter.get_finished_spans()]
sys.stdout.write(json.dumps({"errors": errors, "transactions": transactions, "spans": spans}))
