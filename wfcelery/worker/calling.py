"""Runs the author's code for the engine: the step or Celery task of a name, in Celery's own tracer, under its own name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID

import celery.app.trace as celery_trace  # the module, never the function: sentry-sdk replaces the attribute
from celery import Celery

from wfcelery.authoring.context import StepContext, step_context
from wfcelery.authoring.registry import Registry, StepSpec
from wfcelery.authoring.run_data import RunData
from wfcelery.authoring.shape import Shape
from wfcelery.core.rows import NO_ITEM
from wfcelery.definition.redaction import texts_at
from wfcelery.definition.secrets import cleaned, quotable
from wfcelery.engine.ports import Call, CannotBegin, Outcome, Policy, Raised, Returned, UnknownStep
from wfcelery.engine.secrets import spared
from wfcelery.errors import CannotBind, CannotCarry
from wfcelery.service.run_data import KeptData
from wfcelery.worker.adopting import policy_of, refusals
from wfcelery.worker.attempts import CURRENT, Attempt, Refused, prepare
from wfcelery.worker.events import Events
from wfcelery.worker.sanitizing import error_of
from wfcelery.worker.slots import SharedSlots

log = logging.getLogger(__name__)

_QUOTING = ("exc", "traceback", "internal")  # what Celery's tracer says of an error
HIDDEN = "…"  # what stands for arguments and results wherever Celery would show them


class NotReturned(Exception):  # noqa: N818 - it says what happened
    """The body of a transactional step did not return: roll back. `error` is what the author's code raised."""

    def __init__(self, error: BaseException | None) -> None:
        super().__init__(str(error))
        self.error = error


class Transactions(Protocol):
    """Carries transactional steps: effect and result in one transaction."""

    def carry_out(self, call: Call, policy: Policy, body: Callable[[Any], Any]) -> Outcome:
        """Open the transaction, have `body(connection)` give the stored result, report, commit.

        `NotReturned` from the body rolls back and is raised on, unless its error says that the transaction
        may be repeated; then the body is called again.
        """

    def may_be_repeated(self, error: BaseException) -> bool:
        """Whether this error is a clash of transactions (40001, 40P01), which is no failure of the step."""


@dataclass(slots=True)
class Attending:
    """What a running step may ask of its worker."""

    slots: SharedSlots
    token: UUID
    run: str = ""
    organization_id: str | None = None
    link: Any = None

    def heartbeat(self, details: Any) -> None:
        """Renewals say that it is alive; `details` are for whoever shows them."""

    def cancelled(self) -> str | None:
        return "the run is being cancelled, or this attempt was given up" if self.slots.cancelled(self.token) else None

    def connection(self) -> Any:
        return self.link

    def data(self) -> RunData:
        return KeptData(self.run, self.organization_id, self.link)


@dataclass(slots=True)
class TaskCaller:
    """The engine's `Caller`, over the tasks of one Celery app and the steps of one registry."""

    app: Celery
    registry: Registry
    slots: SharedSlots
    events: Events
    transactions: Transactions | None = None
    _tracers: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    _policies: dict[str, tuple[StepSpec | None, Policy]] = field(default_factory=dict)

    # ---- Caller ------------------------------------------------------------------------------------------------------

    def policy(self, action: str) -> Policy | None:
        """What the code says of a step; None where this process does not know it."""
        return self._policy_of(self.registry.find_step(action), action)

    def _policy_of(self, spec: StepSpec | None, action: str) -> Policy | None:
        known = self._policies.get(action)
        if known is not None and known[0] is spec:
            return known[1]
        policy = self._policy(spec, action)
        if policy is not None:
            self._policies[action] = (spec, policy)
        return policy

    def call(self, call: Call) -> Outcome:
        """Execute one attempt."""
        spec = self.registry.find_step(call.action)
        task = self.app.tasks.get(call.action if spec is None else spec.name)
        policy = self._policy_of(spec, call.action)
        if task is None or policy is None:
            return UnknownStep(f"worker {self.events.hostname} knows no step {call.action}")
        refused = refusals(task)
        if refused:
            return CannotBegin(refused[0])
        known = spec if spec is not None else unknown_spec(task)
        try:
            args, kwargs = self._bind(known, task, call)
        except CannotBind as problem:
            return CannotBegin(str(problem))
        if known.shape.secret_parameters:
            quotes = quotable(texts_at(call.input or {}, known.shape.secret_parameters))
            call = replace(call, secrets=(*call.secrets, *quotes))
        own = call.retry is None and known.adopted and known.retry is None
        attempt = Attempt(task, call, known, call.retry or policy.retry, own)
        if policy.transactional and self.transactions is not None and not known.elsewhere(call.input or {}):
            return spared(self._transactional(attempt, policy, args, kwargs), call.secrets)
        return spared(self._trace(attempt, args, kwargs, None), call.secrets)

    # ---- what is called ----------------------------------------------------------------------------------------------

    def _policy(self, spec: StepSpec | None, action: str) -> Policy | None:
        task = self.app.tasks.get(action if spec is None else spec.name)
        if task is None:
            return None
        if spec is None:
            return policy_of(task)
        if not spec.adopted:
            return Policy(
                retry=spec.retry,
                timeout=spec.timeout,
                soft_timeout=spec.soft_timeout,
                queue=spec.queue,
                priority=spec.priority,
                transactional=spec.transactional,
                isolation=spec.isolation,
                commit=spec.commit,
                gates=spec.gates,
            )
        said = {name: getattr(spec, name) for name in ("retry", "timeout", "soft_timeout", "queue", "priority")}
        return replace(policy_of(task), **{name: value for name, value in said.items() if value is not None})

    def _bind(self, spec: StepSpec, task: Any, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = call.input or {}
        offered = {name: value for name, value in call.offered.items() if name in spec.parameters and name not in given}
        args, kwargs = spec.bind(given | offered if offered else given)
        if spec.adopted and task.typing:
            try:
                task.__header__(*args, **kwargs)
            except TypeError as problem:
                raise CannotBind(task.name, str(problem)) from None
        return args, kwargs

    # ---- the tracer --------------------------------------------------------------------------------------------------

    def _trace(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any], link: Any) -> Outcome:
        call, task = attempt.call, attempt.task
        prepare(task)
        run = str(call.run)
        request = self._request(attempt, args, kwargs, run)
        attendant = Attending(self.slots, call.token, run, call.organization_id, link)
        context = StepContext(call.key, call.attempt, run, call.organization_id, call.deadline, call.name, attendant, call.token)
        tell_end = self.events.begun(task, request)
        before = CURRENT.set(attempt)
        state: str | None = None
        try:
            with step_context(context):
                value, info, _, _ = self._tracer(task)(request["id"], args, kwargs, request)
            if info is not None:
                state, value = info.state, info.retval
            outcome = attempt.outcome(state, value)
        except Exception as failure:  # noqa: BLE001 - a handler of the task, or Celery itself; the author's function is inside
            log.warning("step %s of run %s: %s around the task's function", call.name, call.run, type(failure).__name__)
            state, outcome = "FAILURE", Raised(error_of(failure), final=isinstance(failure, CannotCarry | Refused))
        finally:
            CURRENT.reset(before)
        tell_end(state, outcome.error if isinstance(outcome, Raised) else None)
        return outcome

    def _transactional(self, attempt: Attempt, policy: Policy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
        transactions, last = self.transactions, list[Outcome]()
        assert transactions is not None

        def body(connection: Any) -> Any:
            this = Attempt(
                attempt.task, attempt.call, attempt.spec, attempt.policy, attempt.own_policy, repeats=transactions.may_be_repeated
            )
            outcome = self._trace(this, args, kwargs, connection)
            if isinstance(outcome, Returned):
                return outcome.value
            last.append(outcome)
            raise NotReturned(this.cause)

        try:
            return transactions.carry_out(attempt.call, policy, body)
        except NotReturned:
            return last[-1]

    def _tracer(self, task: Any) -> Any:
        known = self._tracers.get(task.name)
        if known is None or known[0] is not task:
            # Not eager: what `on_success` raises is Celery's to log. `is_eager` in the request is what keeps retries from being sent.
            known = task, celery_trace.build_tracer(task.name, task, app=self.app)
            self._tracers[task.name] = known
        return known[1]

    def _request(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any], run: str) -> dict[str, Any]:
        call, task = attempt.call, attempt.task
        token = call.token if call.item == NO_ITEM else UUID(int=call.token.int ^ call.item)  # one token claims a group of items
        return {
            "id": str(token),
            "task": task.name,
            "lang": "py",
            "args": args,
            "kwargs": kwargs,
            "argsrepr": HIDDEN,
            "kwargsrepr": HIDDEN,
            "hostname": self.events.hostname,
            "is_eager": True,
            "ignore_result": True,
            "retries": call.attempt - 1,
            "root_id": run,
            "delivery_info": {"exchange": "", "routing_key": call.queue, "redelivered": False},
            "timelimit": (task.time_limit, call.soft_timeout),
            "headers": {"wf_run": run, "wf_step": str(call.step)},
        }


def unknown_spec(task: Any) -> StepSpec:
    """A Celery task that only a definition names: everything is passed as it came."""
    return StepSpec(task.name, None, Shape(task.name, None), f"{task.__module__}.{task.name}", adopted=True)


class HideValues(logging.Filter):
    """Celery's tracer logs arguments and results. Of a step it does not: they are the workflow's, not the log's."""

    def filter(self, record: logging.LogRecord) -> bool:
        attempt = CURRENT.get()
        if attempt is not None and isinstance(record.args, dict):
            hidden = dict.fromkeys(record.args.keys() & {"args", "kwargs", "return_value"}, HIDDEN)
            record.args = {**record.args, **hidden}
            if attempt.call.secrets:
                self._spare(record, attempt.call.secrets)
            record.data = record.args
        return True

    def _spare(self, record: logging.LogRecord, secrets: tuple[str, ...]) -> None:
        assert isinstance(record.args, dict)
        record.args = {key: cleaned(str(said), secrets) if key in _QUOTING else said for key, said in record.args.items()}
        if record.exc_info:
            record.exc_text = cleaned(logging.Formatter().formatException(record.exc_info), secrets)
            record.exc_info = None


def hide_values() -> None:
    """Install the filter, once."""
    tracer = logging.getLogger("celery.app.trace")
    if not any(isinstance(each, HideValues) for each in tracer.filters):
        tracer.addFilter(HideValues())
