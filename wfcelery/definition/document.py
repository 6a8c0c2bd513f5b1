"""The document that Python and YAML both become.

A definition says what the workflow says; what is not said here is what the code says. Values are in
stored form, spans are seconds, names are in lists, whichever way they were written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from wfcelery.definition.done import Hooks, MaybeCompensate
from wfcelery.definition.expressions import bare
from wfcelery.definition.fields import Condition, MaybeSpan, Names, RetrySpec, Span, Stored, Strict, condition_of, names_of, stored
from wfcelery.definition.forms import form_of
from wfcelery.definition.gating import BreakerSpec, ConcurrencySpec, LimitSpec, MaybeRate
from wfcelery.definition.redaction import ANY, path_of, text_of
from wfcelery.definition.shares import written

ENDS = ("succeeded", "failed", "timed_out", "cancelled", "skipped")
COMPLETED = frozenset({"succeeded", "failed", "timed_out", "skipped"})
FAILED_ENDS = frozenset({"failed", "timed_out"})
TRANSITIONS = {
    "on_success": frozenset({"succeeded"}),
    "on_failure": frozenset({"failed"}),
    "on_timeout": frozenset({"timed_out"}),
    "on_cancel": frozenset({"cancelled"}),
    "on_complete": COMPLETED,
}
POSITIONAL = "*"
OnError = Literal["stop", "continue", "compensate"]
Overlap = Literal["skip", "buffer", "allow", "cancel"]
ParentClose = Literal["request_cancel", "terminate", "abandon"]  # what becomes of a child when its parent is over, or wants it no more
OVERLAPS: tuple[Overlap, ...] = ("skip", "buffer", "allow", "cancel")  # what a schedule does where an earlier run is still going


# ---- what a field may be written as ----------------------------------------------------------------------------------


def _set(value: Any) -> Any:
    """Names whose order says nothing."""
    names = names_of(value)
    return tuple(sorted(set(names))) if isinstance(names, tuple) and all(isinstance(name, str) for name in names) else names


def _after(value: Any) -> Any:
    """`a`, `[a, b]`, `[{a: failed}]`, `[{task: a, ends: [failed]}]`: a list of the last form."""
    if isinstance(value, dict) and "ends" in value:
        return (value,)
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        return value
    found: list[Any] = []
    for item in value:
        if isinstance(item, str):
            found.append({"task": item})
        elif isinstance(item, dict) and "ends" not in item and item.keys() != {"task"}:
            found.extend({"task": name, "ends": ends} for name, ends in item.items())
        else:
            found.append(item)
    return tuple(found)


def _ends(value: Any) -> Any:
    names = names_of(value)
    if isinstance(names, tuple) and "completed" in names:
        names = (*(name for name in names if name != "completed"), *COMPLETED)
    return tuple(sorted(set(names))) if isinstance(names, tuple) and all(isinstance(name, str) for name in names) else names


def _published(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and all(isinstance(item, dict) for item in value):
        value = {key: item for each in value for key, item in each.items()}
    return stored(value) if isinstance(value, dict) else value


def _branches(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    # `- default: b` says `- {default: true, next: b}`
    return tuple(
        {**item, "default": True, "next": item["default"]}
        if isinstance(item, dict) and isinstance(item.get("default"), (str, list))
        else item
        for item in value
    )


def _secret(value: Any) -> Any:
    """`true` for all of a result, a path, or a list of them."""
    if value is True or value is False:
        return (ANY,) if value else ()
    names = names_of(value)
    return tuple(sorted({text_of(path_of(name)) for name in names})) if all(isinstance(name, str) for name in names) else names


def _listed(value: Any) -> Any:
    """One name is a list of one; a template stays what it is."""
    return [value] if isinstance(value, str) and "{{" not in value else stored(value)


def _form(value: Any) -> Any:
    return form_of(value)


def _label(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


NameSet = Annotated[tuple[str, ...], BeforeValidator(_set)]
MaybeShare = Annotated[int | str | None, BeforeValidator(written)]


# ---- the parts -------------------------------------------------------------------------------------------------------


class After(Strict):
    """A task that has to end before this one, and how; without `ends`: succeeded, or skipped by its own `when`."""

    task: str
    ends: Annotated[tuple[Literal["succeeded", "failed", "timed_out", "cancelled", "skipped"], ...], BeforeValidator(_ends)] | None = None


class Branch(Strict):
    """One way out of a decision: the first whose condition holds is taken, else the default."""

    when: Condition | None = None
    default: bool = False
    next: Names = ()
    label: str | None = None


class Escalation(Strict):
    """After this span these are asked too."""

    after: Span
    to: Names


class Parameter(BaseModel):
    """One parameter of a workflow: whether it has to be given, its default, and its JSON schema."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    required: bool = False
    default: Stored = None
    type: str | Annotated[tuple[str, ...], BeforeValidator(names_of)] | None = None

    @property
    def json_schema(self) -> dict[str, Any]:
        """What a value has to be like."""
        schema = dict(self.model_extra or {})
        if self.type is not None:
            schema["type"] = list(self.type) if isinstance(self.type, tuple) else self.type
        return schema


class Task(Strict):
    """One task of the graph. Edges are written at either of its ends."""

    name: str
    label: str | None = None
    description: str | None = None
    type: Literal["action", "sleep", "wait", "approval", "parallel", "race", "workflow", "loop", "end", "fail", "continue_as_new"] = (
        "action"
    )
    action: str | None = None
    input: Annotated[dict[str, Any], BeforeValidator(stored)] = Field(default_factory=dict)
    args: Annotated[list[Any] | None, BeforeValidator(lambda value: None if value is None else stored(value))] = None
    when: Condition | None = None
    with_items: Stored = None
    filter: Condition | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    success: MaybeShare = None
    tolerate: MaybeShare = None
    on_error: OnError | None = None
    compensate: MaybeCompensate = None
    retry: RetrySpec | None = None
    timeout: MaybeSpan = None
    soft_timeout: MaybeSpan = None
    queue: Annotated[str, Field(min_length=1)] | None = None
    priority: Annotated[int, Field(ge=0, le=255)] | None = None
    commit: Literal["group", "each"] = "group"
    secret: Annotated[tuple[str, ...], BeforeValidator(_secret)] = ()  # fields of its result that people must not read
    limit: LimitSpec | None = None
    lock: Annotated[str, Field(min_length=1)] | None = None
    rate: MaybeRate = None
    breaker: BreakerSpec | None = None
    after: Annotated[tuple[After, ...], BeforeValidator(_after)] = ()
    needs: Names = ()
    when_reached: NameSet = ()  # tasks without whose success this one does not begin
    unless_reached: NameSet = ()  # tasks after whose success this one does not begin any more
    region: NameSet = ()  # what `cancels` may name it by, with others
    cancels: NameSet = ()  # regions and tasks that are closed when this one has succeeded
    join: Annotated[int, Field(ge=1)] | Literal["all"] | None = None
    cancel_rest: bool = False
    on_success: Names = ()
    on_failure: Names = ()
    on_timeout: Names = ()
    on_cancel: Names = ()
    on_complete: Names = ()
    decision: Annotated[tuple[Branch, ...], BeforeValidator(_branches)] = ()
    publish: Annotated[dict[str, Any], BeforeValidator(_published)] = Field(default_factory=dict)
    duration: Stored = None
    until: Stored = None
    event: Annotated[str, Field(min_length=1, max_length=255)] | None = None  # wait: its name
    key: Stored = None  # wait: which of them
    keep: bool = True  # wait: whether one that came before meets it
    roles: NameSet = ()  # wait: who may send it
    data: Annotated[dict[str, Any], BeforeValidator(stored)] = Field(default_factory=dict)  # wait: the JSON schema of its data
    title: str | None = None  # approval: what people are asked
    assignees: Annotated[Any, BeforeValidator(_listed)] = None  # approval: of whom; nobody: of everybody
    form: Annotated[dict[str, Any] | None, BeforeValidator(_form)] = None  # approval: what an answer has to say
    remind: MaybeSpan = None
    escalate: Annotated[tuple[Escalation, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)] = ()
    output: Stored = None  # end: what the run returns; workflow, loop: what its own tasks are worth
    message: str | None = None  # fail: what its error says
    code: str | None = None
    workflow: Annotated[str, Field(min_length=1)] | None = None  # workflow, loop: the name of the one that is called, unless `tasks` are
    parent_close: ParentClose | None = None
    wait: bool = True  # workflow: whether the run waits for the child's end
    while_: Annotated[str | None, BeforeValidator(condition_of)] = Field(default=None, alias="while")
    max_rounds: Annotated[int, Field(ge=1)] | None = None
    every: MaybeSpan = None
    tasks: Annotated[tuple[Task, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, document: Any) -> Any:
        return _with_name(_with_bare_until(document))

    @property
    def inside(self) -> tuple[Task, ...]:
        """The tasks of a block, which are tasks of the same graph. Those of a loop or a call are a definition of their own."""
        return self.tasks if self.is_block else ()

    @property
    def is_block(self) -> bool:
        """Whether it stands around other tasks: two gates, one before and one behind them."""
        return self.type in ("parallel", "race")

    @property
    def transitions(self) -> Iterator[tuple[str, frozenset[str], str]]:
        """(key, ends, target) of every `on_...`."""
        for key, ends in TRANSITIONS.items():
            for target in getattr(self, key):
                yield key, ends, target

    @property
    def arguments(self) -> dict[str, Any]:
        """The input, positional arguments under "*"."""
        return self.input if self.args is None else {**self.input, POSITIONAL: self.args}


class ScheduleSpec(Strict):
    """When runs of the workflow start by themselves. No part of what a run goes by: it is neither signed nor stored with it."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    cron: str | None = None
    every: MaybeSpan = None
    timezone: str | None = None
    overlap: Overlap | None = None
    catch_up: MaybeSpan = None
    input: Annotated[dict[str, Any], BeforeValidator(stored)] = Field(default_factory=dict)
    slot_as: str | None = None
    queue: Annotated[str, Field(min_length=1)] | None = None
    priority: Annotated[int, Field(ge=0, le=255)] | None = None
    tags: Names = ()
    deadline: MaybeSpan = None


class TriggerSpec(Strict):
    """Each event of this name for which `when` holds starts a run."""

    event: Annotated[str, Field(min_length=1, max_length=255)]
    when: Condition | None = None
    input: Annotated[dict[str, Any], BeforeValidator(stored)] = Field(default_factory=dict)
    key: Stored = None


class Definition(Strict):
    """A workflow, as it is stored."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[str, Field(min_length=1, max_length=100), BeforeValidator(_label)] = "1"
    label: str | None = None
    description: str | None = None
    parameters: Annotated[dict[str, Parameter], BeforeValidator(lambda value: {} if value is None else value)] = Field(default_factory=dict)
    vars: Annotated[dict[str, Any], BeforeValidator(_published)] = Field(default_factory=dict)
    tasks: Annotated[tuple[Task, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)] = ()
    output: Stored = None
    timeout: MaybeSpan = None
    on_error: OnError | None = None  # None: compensate where a task says how it is undone, else stop
    hooks: Hooks = Hooks()
    tags: Names = ()
    concurrency: ConcurrencySpec | None = None
    schedules: Annotated[tuple[ScheduleSpec, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)] = ()
    triggers: Annotated[tuple[TriggerSpec, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, document: Any) -> Any:
        return _with_name(document)

    def every_task(self) -> Iterator[tuple[Task, Task | None]]:
        """All tasks, those inside parallel blocks too, each with the block it stands in."""
        waiting: list[tuple[Task, Task | None]] = [(task, None) for task in reversed(self.tasks)]
        while waiting:
            task, block = waiting.pop()
            yield task, block
            waiting.extend((inner, task) for inner in reversed(task.inside))


def _with_bare_until(document: Any) -> Any:
    # of a sleep it is a value, of a loop a condition
    if isinstance(document, dict) and document.get("type") == "loop" and isinstance(document.get("until"), str):
        return {**document, "until": bare(document["until"])}
    return document


def _with_name(document: Any) -> Any:
    # `ref` is the name; a `name` beside it is for people
    if isinstance(document, dict) and "ref" in document:
        rest = {key: value for key, value in document.items() if key != "ref"}
        if "name" in rest:
            rest.setdefault("label", rest["name"])
        return {**rest, "name": document["ref"]}
    return document
