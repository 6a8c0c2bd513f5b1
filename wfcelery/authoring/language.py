"""The words inside a workflow beside its steps: conditions, order, ends, waits, texts.

Each has the type that the value it stands for will have when the workflow runs. That one fiction is what
lets a type checker see every edge.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack, cast, overload

from typing_extensions import TypeVar

from wfcelery.authoring.formulas import COMPLETED, Choice, Formula, Guard, Use
from wfcelery.authoring.options import WaitOptions, check_options, check_span
from wfcelery.authoring.references import Reference, literal, negated, references_in
from wfcelery.authoring.tracing import End, current_trace, ends_of, looked_at, ran, refusal, templated, whole_task, written_out
from wfcelery.errors import Duration, StepError

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
T = TypeVar("T")
AnyT = TypeVar("AnyT", default=Any)


# ---- blocks ----------------------------------------------------------------------------------------------------------


class Block:
    """A with-block of a workflow: what is called inside stands behind it."""

    __slots__ = ("_block", "_guard")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._block: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        self._block = current_trace("a with-block").guarded(self._guard)
        self._block.__enter__()
        return self

    # None, not bool: checkers would call every name bound inside possibly unbound.
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._block is not None:
            self._block.__exit__(kind, error, trace)


def when(condition: bool, /) -> Block:
    """Run what is called inside where the condition holds; skip it otherwise."""
    trace = current_trace("when()")
    return Block(trace.when(_condition("when", condition)))


def otherwise(condition: bool | None = None, /) -> Block:
    """Run what is called inside where no block before it did, and, if there is one, its condition holds."""
    trace = current_trace("otherwise()")
    return Block(trace.otherwise(None if condition is None else _condition("otherwise", condition)))


def _condition(word: str, condition: object) -> Formula:
    if isinstance(condition, End):
        raise refusal(f"{word}() takes a condition; an end such as failed(x) stands in `with after(failed(x)):`")
    if not isinstance(condition, Reference):
        raise refusal(
            f"{word}({condition!r}) was decided while the workflow was traced: `is None`, isinstance and plain values are; "
            "write is_none(x) for `x is None`, and a plain `if` where nothing depends on the run"
        )
    return condition._wf


def after(*ends: object) -> Block:
    """Run what is called inside once each of these has ended so: a step's value, failed(x), completed(x), …"""
    trace = current_trace("after()")
    found = tuple(ends_of(list(ends), trace))
    if not found:
        raise refusal("after() takes what it shall come after")
    shown = " and ".join(f"{task.name} ends {' or '.join(sorted(accepted))}" for task, accepted in found)
    return Block(Guard(f"where {shown}", ends=found))


# ---- ends ------------------------------------------------------------------------------------------------------------


def succeeded(reference: object, /) -> End:
    """The step succeeded, or its own `when` skipped it: what `after` means where nothing else is said."""
    task = whole_task(reference, "succeeded()")
    return End(task, task.usual_ends)


def failed(reference: object, /) -> End:
    """The step failed, for good."""
    return End(whole_task(reference, "failed()"), frozenset({"failed"}))


def timed_out(reference: object, /) -> End:
    """The last attempt of the step did not end in time."""
    return End(whole_task(reference, "timed_out()"), frozenset({"timed_out"}))


def cancelled(reference: object, /) -> End:
    """The step was cancelled, alone, while the run goes on."""
    return End(whole_task(reference, "cancelled()"), frozenset({"cancelled"}))


def completed(reference: object, /) -> End:
    """The step ended, however it did."""
    return End(whole_task(reference, "completed()"), COMPLETED)


def error(reference: object, /) -> StepError:
    """What a failed step is worth: type, code and message."""
    task = whole_task(reference, "error()")
    return cast("StepError", _made(Formula(f"task.{task.name}.error", (Use(task, "error"),))))


# ---- expressions -----------------------------------------------------------------------------------------------------


def not_(condition: bool, /) -> bool:
    """True where the condition is not."""
    return cast("bool", negated(condition))


def is_none(value: object, /) -> bool:
    """True where the value is None. (`is None` is decided before a trace can see it.)"""
    return cast("bool", _made(_function("is_none", value)))


def required(value: T | None, /) -> T:
    """The value where it is not None; where it is, what needs it fails."""
    return cast("T", _made(_function("required", value)))


def _function(name: str, value: object) -> Formula:
    if not isinstance(value, Reference):
        raise refusal(f"{name}({value!r}) needs no workflow: the value is known while it is traced")
    inner = value._wf
    return Formula(f"{name}({inner.source})", inner.uses, inner.choices)


def text(template: str, /, *values: object, **named: object) -> str:
    """A text with values in it: text("order {} of {name}", x, name=y)."""
    mixed, parts = "", []
    places = iter(range(len(values)))
    used: set[str | int] = set()
    for fixed, name, spec, conversion in _pieces(template):
        if fixed:
            mixed += f"{{{{ {literal(fixed)} }}}}" if "{{" in fixed or "{%" in fixed or "{#" in fixed else fixed
            parts.append(Formula(literal(fixed)))
        if name is None:
            continue
        if spec or conversion:
            raise refusal(f"text({template!r}): a place is {{}}, {{0}} or {{name}}; for more write expr('… | round(2)')")
        value = _placed(template, name, places, values, named, used)
        each = value._wf if isinstance(value, Reference) else Formula(literal(value))
        mixed += f"{{{{ {each.source} }}}}"
        parts.append(each)
    if len(used) < len(values) + len(named):
        raise refusal(f"text({template!r}) has no place for each of its values")
    source = " ~ ".join(part.source for part in parts) or "''"
    uses = tuple(use for part in parts for use in part.uses)
    choices = tuple(choice for part in parts for choice in part.choices)
    return cast("str", _made(Formula(f"({source})", uses, choices, mixed=mixed)))


def _pieces(template: str) -> Iterator[tuple[str, str | None, str | None, str | None]]:
    try:
        yield from string.Formatter().parse(template)
    except ValueError as wrong:
        raise refusal(f"text({template!r}): {wrong}") from None


def _placed(
    template: str, name: str, places: Iterator[int], values: tuple[object, ...], named: dict[str, object], used: set[str | int]
) -> object:
    place: str | int | None = next(places, None) if name == "" else int(name) if name.isdecimal() else name
    if isinstance(place, int) and place < len(values):
        used.add(place)
        return values[place]
    if isinstance(place, str) and place in named:
        used.add(place)
        return named[place]
    raise refusal(f"text({template!r}) has a place without a value: {name or '{}'}")


def expr(source: str, /, *, type: type[AnyT] | None = None) -> AnyT:  # noqa: A002, ARG001 - for type checkers
    """Any expression of the language of definitions, as YAML writes it between {{ and }}."""
    parsed, uses = written_out(f"expr({source!r})", source)
    return cast("AnyT", _made(Formula(source.strip() if parsed.path else f"({source.strip()})", uses)))


@overload
def either(a: A, b: B, /) -> A | B: ...
@overload
def either(a: A, b: B, c: C, /) -> A | B | C: ...
@overload
def either(a: A, b: B, c: C, d: D, /) -> A | B | C | D: ...
def either(*values: Any) -> Any:
    """The first of the values whose step ran; a constant at the end, None too, stands for "where none of them did"."""
    trace = current_trace("either()")
    formulas = [value._wf if isinstance(value, Reference) else Formula(literal(value)) for value in values]
    alternatives = [each for each in formulas if each.all_uses]
    if not alternatives or alternatives != formulas[: len(alternatives)] or len(formulas) - len(alternatives) > 1:
        raise refusal("either() takes values of steps, and at most one that is always there, as the last")
    choice = Choice(tuple(alternatives), len(formulas) > len(alternatives))
    made = Formula(_first_that_ran(alternatives, formulas), choices=(choice,))
    trace.check(made)
    return _made(made)


def _first_that_ran(alternatives: list[Formula], formulas: list[Formula]) -> str:
    tasks = [use.task for each in alternatives for use in each.uses]
    by_condition = all(guard.condition is not None for task in tasks for guard in task.guards if guard.keeps_out)
    if by_condition and all(task.guards for task in tasks) and all(each.plain for each in alternatives):
        return f"either({', '.join(each.source for each in formulas)})"
    source = formulas[-1].source
    for each in reversed(formulas[:-1]):
        source = f"({each.source} if {ran(each)} else {source})"
    return source


def _made(formula: Formula) -> Any:
    return Reference(formula)


# ---- waits, and what a run says of itself ----------------------------------------------------------------------------


def sleep(duration: Duration, /, **options: Unpack[WaitOptions]) -> datetime:
    """Wait for a span of time. No worker waits with it."""
    if not isinstance(duration, Reference):
        if duration is None:
            raise refusal("sleep() takes a span: 30, 30s, 5m, 12h or 2d")
        check_span("sleep()", duration)
    return cast("datetime", _wait("sleep", "duration", duration, dict(options)))


def sleep_until(time: datetime | str, /, **options: Unpack[WaitOptions]) -> datetime:
    """Wait until a time: one with a time zone, or an ISO text."""
    if isinstance(time, datetime) and time.tzinfo is None:
        raise refusal(f"sleep_until({time!r}) has no time zone")
    return cast("datetime", _wait("sleep_until", "until", time, dict(options)))


def _wait(word: str, field: str, value: object, options: dict[str, Any]) -> Any:
    trace = current_trace(f"{word}()")
    check_options(f"{word}()", options, WaitOptions.__annotations__)
    shown = value.isoformat() if isinstance(value, datetime) else value
    said = {"type": "sleep", field: templated(shown, word)}
    task = trace.add("sleep", options, said, looked_at(value))
    return _made(Formula(f"task.{task.name}.result", (Use(task),), task=task))


def end(value: object = None, /, **options: Unpack[WaitOptions]) -> None:
    """End the run here, well: it returns the value, what is under way is cancelled, and nothing else begins.

    It stands in a block, `with when(...)` or `with after(...)`: elsewhere `return` says it.
    """
    _last("end", {} if value is None else {"output": templated(value, "end")}, looked_at(value), dict(options))


def fail(message: str, /, code: str | None = None, **options: Unpack[WaitOptions]) -> None:
    """End the run here as failed, with an error of this message and code. Nothing is tried again, and nobody is asked to."""
    if not isinstance(message, Reference) and (not isinstance(message, str) or not message):
        raise refusal(f"fail() takes a text that says why, not {message!r}")
    if code is not None and (not isinstance(code, str) or not code):
        raise refusal(f"fail(code) is a text, not {code!r}")
    said = {"message": templated(message, "fail"), **({} if code is None else {"code": code})}
    _last("fail", said, looked_at(message), dict(options))


def continue_as_new(**values: object) -> None:
    """End the run here, and start the next one of this workflow in the same commit, with these parameters; others have their defaults.

    For loops without an end: the next run has the key, tags, queue and priority of this one, and no history. `result()` of
    this one is that of the last. It stands in a block, or is given a value that a step returned.
    """
    seen = looked_at(values)
    trace = current_trace("continue_as_new()")
    if not trace.stack and not any(each.all_uses for each in seen):
        raise refusal("continue_as_new() would end every run as it begins: write it in `with when(…):`, or give it what a step returned")
    said = {"input": {name: templated(value, f"continue_as_new({name})") for name, value in values.items()}}
    trace.add("continue_as_new", {}, {"type": "continue_as_new", **said}, seen)


def _last(word: str, said: dict[str, Any], seen: list[Formula], options: dict[str, Any]) -> None:
    trace = current_trace(f"{word}()")
    check_options(f"{word}()", options, WaitOptions.__annotations__)
    if not trace.stack and "after" not in options:
        raise refusal(f"{word}() outside of a block would end every run as it begins: write it in `with when(…):`, or say after=")
    trace.add(word, options, {"type": word, **said}, seen)


def publish(**values: object) -> None:
    """Set variables of the run, which expr("vars.name") reads: each when the step it is a value of has succeeded."""
    trace = current_trace("publish()")
    for name, value in values.items():
        tasks = {use.task for reference in references_in(value) for use in reference._wf.all_uses}
        if len(tasks) != 1:
            raise refusal(f"publish({name}=…) takes a value made of what exactly one step returned: that step publishes it")
        (task,) = tasks
        for each in looked_at(value):
            trace.check(each)
        if any(guard.keeps_out and guard not in task.guards for guard in trace.stack):
            raise refusal(f"publish({name}=…) stands in a block that {task.name} does not stand in; let a step inside return the value")
        task.publish[name] = templated(value, name)
