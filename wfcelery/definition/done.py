"""What is called beside the graph: what undoes a task, and the hooks of a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from wfcelery.definition.fields import MaybeSpan, RetrySpec, Strict, stored


def _action(value: Any) -> Any:
    """`refund` says `{action: refund}`."""
    return {"action": value} if isinstance(value, str) else value


class Done(Strict):
    """A call of a step that stands in no graph: what undoes a task, or what a hook does. What is not said the step's own code says."""

    action: Annotated[str, Field(min_length=1)]
    input: Annotated[dict[str, Any], BeforeValidator(stored)] | None = None
    retry: RetrySpec | None = None
    timeout: MaybeSpan = None
    queue: Annotated[str, Field(min_length=1)] | None = None


class CompensateSpec(Done):
    """What undoes a task that has succeeded, and, where asked, one that began and of whose success nothing is known."""

    even_if_unknown: bool = False


MaybeCompensate = Annotated[CompensateSpec | None, BeforeValidator(_action)]
MaybeHook = Annotated[Done | None, BeforeValidator(_action)]


class Hooks(Strict):
    """What is done when a run comes to its end, before it has ended; `on_complete` is done last, however the run ends."""

    on_failure: MaybeHook = None
    on_cancel: MaybeHook = None
    on_complete: MaybeHook = None

    @property
    def every(self) -> Iterator[tuple[str, Done]]:
        """Those that there are, in the order in which they are done."""
        for name in type(self).model_fields:
            hook = getattr(self, name)
            if hook is not None:
                yield name, hook
