"""What is called beside the graph, as Python says it: what undoes a step, and the hooks of a workflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, get_args

from wfcelery.authoring.options import NO_RETRY, OnError, Retry, check_options
from wfcelery.authoring.registry import StepSpec
from wfcelery.authoring.tracing import refusal
from wfcelery.definition.done import Hooks
from wfcelery.definition.spans import seconds
from wfcelery.errors import AuthoringError, Duration, Failed

P = ParamSpec("P")
NOT_SAID: Any = object()  # None says that nothing undoes it
OF_A_CALL = ("retry", "timeout", "queue")  # what such a call may say of itself


@dataclass(frozen=True, slots=True, eq=False)
class Compensate(Generic[P]):
    """What undoes a step, and how: `charge.options(compensate=Compensate(refund, even_if_unknown=True))`.

    It has the parameters of the step it names, so that it may stand wherever that may.
    """

    step: Callable[P, object]
    even_if_unknown: bool = field(default=False, kw_only=True)
    retry: Retry | None = field(default=None, kw_only=True)
    timeout: Duration | None = field(default=None, kw_only=True)
    queue: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _called("Compensate(step)", self.step)
        given = {name: value for name in OF_A_CALL if (value := getattr(self, name)) is not None}
        check_options("Compensate()", given, OF_A_CALL)
        if not isinstance(self.even_if_unknown, bool):
            raise AuthoringError(f"Compensate(even_if_unknown) is True or False, not {self.even_if_unknown!r}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> object:  # noqa: ARG002 - never called
        """It is not called: the engine calls the step it names."""
        raise refusal("Compensate(...) says what undoes a step; it is given to options(compensate=…), and not called")


def undoing(where: str, value: Any) -> dict[str, Any] | None:
    """What a definition says of what undoes a step; None where nothing does."""
    if value is None:
        return None
    if not isinstance(value, Compensate):
        return _called(where, value)
    own = {name: said for name in OF_A_CALL if (said := getattr(value, name)) is not None}
    unknown = {"even_if_unknown": True} if value.even_if_unknown else {}
    return _called(where, value.step) | _written(own) | unknown


def fate(on_error: object) -> dict[str, str]:
    """What a definition says of the failure of one call; of None nothing: it follows the step and the workflow."""
    if on_error is None:
        return {}
    if on_error is Failed:
        return {"on_error": "continue"}
    if on_error not in get_args(OnError):
        raise refusal(f'on_error is "stop", "compensate" or Failed, not {on_error!r}')
    return {"on_error": str(on_error)}


def hooks_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says of the hooks of a workflow."""
    named = [name for name in Hooks.model_fields if options.get(name) is not None]
    return {name: _called(f"@workflow, {name}", options[name]) for name in named}


def _called(where: str, value: Any) -> dict[str, Any]:
    """A step, or the name of one, with what its `.options(...)` say of this call."""
    if isinstance(value, str) and value:
        return {"action": value}
    spec = getattr(value, "spec", None)
    if not isinstance(spec, StepSpec):
        named = getattr(value, "__name__", None) or repr(value)
        raise AuthoringError(f"{where} is a step or the name of one, not {named}; write @step above it, or adopt() a Celery task")
    said: Mapping[str, Any] = value._said
    other = next((name for name in said if name not in OF_A_CALL), None)
    if other is not None:
        raise AuthoringError(f"{where}: nothing stands around this call, so {other}= means nothing; it may say {', '.join(OF_A_CALL)}")
    return {"action": spec.name} | _written(said)


def _written(said: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if "retry" in said:
        document["retry"] = (said["retry"] or NO_RETRY).document()
    if said.get("timeout") is not None:
        document["timeout"] = seconds(said["timeout"])
    if "queue" in said:
        document["queue"] = said["queue"]
    return document
