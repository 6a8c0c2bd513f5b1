"""Everything wfcelery raises, in one tree.

    WfceleryError
    ├── RetryLater, QuotaExceeded, GiveUp  raised by a step's own code: how its attempt shall end
    ├── AttemptCancelled                raised by check_cancelled() in a step whose run is being cancelled
    ├── RunEnded: RunFailed, RunCancelled, RunTimedOut
    ├── StillRunning                    result(timeout=) was not enough
    ├── InProgress                      once(): another caller is at it
    ├── NotFound, KeyConflict, NotAllowedNow
    ├── InvalidInput
    │   └── InvalidSchedule             everything wrong with a schedule
    ├── InvalidText                     a text that no database can hold
    ├── DefinitionProblems              everything wrong with a definition
    ├── AuthoringError (a TypeError)    a workflow's or step's Python that cannot mean what it says
    ├── Misconfigured
    ├── Unavailable                     the database or the broker cannot be reached
    │   └── Damaged                     an SQLite file that is none any more
    ├── CannotRead                      a stored value whose key, codec or payload is not at hand
    ├── ValueProblem
    │   ├── CannotCarry                 a value that no row can hold
    │   ├── CannotBind                  a stored input that no longer fits the code
    │   ├── ExpressionError             a template or condition that cannot be evaluated
    │   └── InvalidSpan (a ValueError)  not a length of time
    └── InternalError                   ours; never the reader's doing
        ├── IllegalTransition           no way leads there
        └── RowChanged                  a row is no longer what it was read as: load and decide again

The text is one sentence that somebody can act on; the facts are attributes. `code` is stable over
releases (JSON output, history), and so is `exit_code` (the command line).
"""

# The names are the public ones: they say what happened, and are read after `except`.
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

Duration = str | int | float | timedelta


@dataclass(frozen=True, slots=True)
class StepError:
    """What is kept of an exception: its type's name, a code if it had one, its sanitized message."""

    type: str
    code: str | None
    message: str

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> StepError:
        """The error of a row or of a history fact."""
        kept = stored or {}
        code = kept.get("code")
        return cls(str(kept.get("type", "Unknown")), None if code is None else str(code), str(kept.get("message", "")))


@dataclass(frozen=True, slots=True)
class Failed:
    """What a step or item that failed under `on_error=Failed` is worth."""

    index: int | None
    item: Any
    error: StepError


class WfceleryError(Exception):
    """Whatever this package raises."""

    code: str = "error"
    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception crosses from a worker's child to its parent; its constructor must not be asked for that.
        return _revived, (type(self), self.args, self.__dict__)


def _revived(kind: type[WfceleryError], args: tuple[Any, ...], facts: dict[str, Any]) -> WfceleryError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


# ---- raised in a step ------------------------------------------------------------------------------------------------


class RetryLater(WfceleryError):
    """Try this step again after that time. It counts as a failure of the retry policy's budget."""

    code = "retry_later"

    def __init__(self, after: Duration, reason: str = "") -> None:
        super().__init__(f"again after {after}" + (f": {reason}" if reason else ""))
        self.after = after
        self.reason = reason


class QuotaExceeded(RetryLater):
    """What the step uses is used up: its run is paused with the reason `quota`, and goes on after that time. It spends no retry."""

    code = "quota"


class GiveUp(WfceleryError):
    """Fail this step now, whatever its retry policy says."""

    code = "gave_up"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AttemptCancelled(WfceleryError):
    """The run is being cancelled, or this attempt is another worker's by now: clean up and leave."""

    code = "cancelled"

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "the run is being cancelled")
        self.reason = reason


# ---- raised at callers -----------------------------------------------------------------------------------------------


class RunEnded(WfceleryError):
    """The run is over and has no result."""

    exit_code = 5

    def __init__(self, text: str, run: str) -> None:
        super().__init__(text)
        self.run = run


class RunFailed(RunEnded):
    """A step failed and nothing handled it."""

    code = "run_failed"

    def __init__(self, run: str, step: str, error: StepError) -> None:
        super().__init__(f"run {run} failed at step {step}: {error.type}: {error.message}", run)
        self.step = step
        self.error = error


class RunCancelled(RunEnded):
    """Somebody cancelled the run."""

    code = "run_cancelled"

    def __init__(self, run: str, reason: str | None = None) -> None:
        super().__init__(f"run {run} was cancelled" + (f": {reason}" if reason else ""), run)
        self.reason = reason


class RunTimedOut(RunEnded):
    """The run's deadline passed, or a step's last attempt did not end in time."""

    code = "run_timed_out"

    def __init__(self, run: str, step: str | None = None) -> None:
        super().__init__(f"run {run} timed out" + (f" at step {step}" if step else ""), run)
        self.step = step


class StillRunning(WfceleryError):
    """The run has not ended within the time the caller gave it. It goes on."""

    code = "still_running"
    exit_code = 6

    def __init__(self, run: str, status: str, why: str | None = None) -> None:
        super().__init__(f"run {run} is still {status}" + (f": {why}" if why else ""))
        self.run = run
        self.status = status


class InProgress(WfceleryError):
    """Another caller of `once` is at work under this key, and did not finish within `wait`."""

    code = "in_progress"
    exit_code = 4

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is in progress elsewhere; ask again later")
        self.key = key


class NotFound(WfceleryError):
    """There is nothing of that name, id or key."""

    code = "not_found"
    exit_code = 3

    def __init__(self, what: str, name: str, near: Sequence[str] = ()) -> None:
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"there is no {what} {name if len(name) <= 100 else name[:100] + '…'}{hint}")
        self.what = what
        self.name = name
        self.near = tuple(near)


class KeyConflict(WfceleryError):
    """A run with this key exists, with another input or against the caller's wish."""

    code = "key_conflict"
    exit_code = 4

    def __init__(self, key: str, run: str, why: str = "with another input") -> None:
        super().__init__(f"key {key} belongs to run {run} {why}")
        self.key = key
        self.run = run


class NotAllowedNow(WfceleryError):
    """What is asked for does not fit the state of the thing it is asked of."""

    code = "not_allowed_now"
    exit_code = 4

    def __init__(self, text: str, status: str | None = None) -> None:
        super().__init__(text)
        self.status = status


class InvalidInput(WfceleryError):
    """The input does not fit the workflow's parameters. `errors` are all of them: (where, what)."""

    code = "invalid_input"
    subject: ClassVar[str] = "the input of {}"

    def __init__(self, workflow: str, errors: Iterable[tuple[str, str]]) -> None:
        self.workflow = workflow
        self.errors = tuple(errors)
        told = [f"{where if len(where) <= 100 else where[:100] + '…'}: {what}" for where, what in self.errors[:20]]
        more = [f"and {len(self.errors) - 20} more"] if len(self.errors) > 20 else []
        super().__init__(f"{self.subject.format(workflow)} is not valid: " + "; ".join(told + more))


class InvalidSchedule(InvalidInput):
    """A schedule that cannot be meant. `errors` are all of them: (where, what)."""

    code = "invalid_schedule"
    subject = "schedule {}"


class InvalidText(WfceleryError):
    """A text that the database cannot hold: half of a surrogate pair, or a NUL on PostgreSQL."""

    code = "invalid_text"
    exit_code = 2

    def __init__(self) -> None:
        super().__init__("a text holds half of a surrogate pair, or a NUL: neither can be stored or looked for; write it without")


class DefinitionProblems(WfceleryError):
    """A definition with problems, all of them, each with its place."""

    code = "definition_problems"

    def __init__(self, name: str, problems: Sequence[Any]) -> None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{name} has {count}:", *(f"  {problem}" for problem in problems)]))
        self.name = name
        self.problems = tuple(problems)


class AuthoringError(WfceleryError, TypeError):
    """A workflow's or step's Python that cannot mean what it says; the text names the way."""

    code = "authoring"

    def __init__(self, text: str, where: str | None = None) -> None:
        super().__init__(f"{where}: {text}" if where else text)
        self.where = where


class Misconfigured(WfceleryError):
    """A setting, or what it leads to, cannot be used."""

    code = "misconfigured"
    exit_code = 2


class Unavailable(WfceleryError):
    """The database or the broker cannot be reached now."""

    code = "unavailable"
    exit_code = 69

    def __init__(self, what: str, why: str = "") -> None:
        super().__init__(f"the {what} cannot be reached" + (f": {why}" if why else ""))
        self.what = what


class Damaged(Unavailable):
    """The file of an SQLite database cannot be read as one any more."""

    code = "damaged"

    def __init__(self, why: str) -> None:
        WfceleryError.__init__(
            self,
            f"the file of the database is damaged ({why}): stop what writes to it and keep a copy; "
            "then restore a backup, or save what can be read with `sqlite3 FILE .recover`",
        )
        self.what = "database"


# ---- values ----------------------------------------------------------------------------------------------------------


class CannotRead(WfceleryError):
    """A stored value cannot be read here: its codec or key is missing, or what its row refers to. With these it can be."""

    code = "cannot_read"


class ValueProblem(WfceleryError):
    """A value that cannot be kept, given or computed."""


class CannotCarry(ValueProblem):
    """A value that no row can hold. `path` leads to it from the whole; `type` is its type's name."""

    code = "bad_result"

    def __init__(self, path: str, type: str, why: str = "") -> None:  # noqa: A002 - the fact's name
        where = path if len(path) <= 80 else path[:80] + "…"
        self.why = f"a {type} cannot be stored" + (f": {why}" if why else "")
        super().__init__(f"{where or 'the value'} is a {type}, which cannot be stored" + (f": {why}" if why else ""))
        self.path = path
        self.type = type


class CannotBind(ValueProblem):
    """A stored input that does not fit the code of this process: the code has changed."""

    code = "incompatible_code"

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"the stored arguments do not fit {step}: {why}")
        self.step = step


class ExpressionError(ValueProblem):
    """An expression that does not parse, or has no value here. Names itself."""

    code = "expression"

    def __init__(self, source: str, why: str) -> None:
        super().__init__(f"{{{{ {source} }}}}: {why}")
        self.source = source
        self.why = why


class InvalidSpan(ValueProblem, ValueError):
    """What is given as a length of time is none; the text says how one is written."""

    code = "invalid_span"
    exit_code = 2


# ---- ours ------------------------------------------------------------------------------------------------------------


class InternalError(WfceleryError):
    """A bug of wfcelery, or another writer came between; nobody outside the engine should see one."""

    code = "internal"
    exit_code = 70


class IllegalTransition(InternalError):
    """No table of `core.states` leads from this status to that one."""

    code = "illegal_transition"

    def __init__(self, what: str, status: str | None, to: str) -> None:
        super().__init__(f"{what} is {status or 'not there'} and cannot become {to}")
        self.what = what
        self.status = status
        self.to = to


class RowChanged(InternalError):
    """A row is no longer what it was read as. Roll back, take the lock, load and decide again."""

    code = "row_changed"

    def __init__(self, what: str, expected: str = "") -> None:
        super().__init__(f"{what} has changed since it was read" + (f" ({expected})" if expected else ""))
        self.what = what
