"""`@step`, `@workflow` and `adopt`: functions as steps and workflows, with the types they had."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, Never, ParamSpec, Protocol, Unpack, cast, overload

from typing_extensions import TypeVar

from wfcelery.authoring.calls import traced_call, traced_map
from wfcelery.authoring.children import traced_child, traced_children
from wfcelery.authoring.context import step_context
from wfcelery.authoring.gates import gates_of_code
from wfcelery.authoring.graph import one_input, one_step, traced
from wfcelery.authoring.options import (
    NO_RETRY,
    CallOptions,
    ChildOptions,
    OnError,
    Retry,
    StepOptions,
    WorkflowOptions,
    check_options,
    check_task_name,
)
from wfcelery.authoring.parameters import Parameters
from wfcelery.authoring.registry import StepSpec, registry
from wfcelery.authoring.shape import Shape, namespace_of_caller
from wfcelery.authoring.tracing import active_trace, refusal
from wfcelery.authoring.undoing import NOT_SAID, fate, hooks_of, undoing
from wfcelery.definition.expressions import Template
from wfcelery.definition.model import Definition
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import as_text
from wfcelery.errors import AuthoringError, Failed

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
AnyT = TypeVar("AnyT", default=Any)  # unsolved: Any
F = TypeVar("F", bound=Failed, default=Never)  # unsolved: nothing is added


class Submitted(Protocol[R_co]):
    """The part of Celery's AsyncResult that `.delay()` promises."""

    id: str

    def get(self, timeout: float | None = None) -> R_co: ...

    def ready(self) -> bool: ...


class Fanned(Protocol[T_contra, Q, R_co]):
    """Anything whose first parameter is the item of a fan-out."""

    # A property, and a protocol: with Step[Concatenate[T, Q], R] as self mypy joins T with the item's type and
    # accepts any list; a plain Callable is refused by pyright; a method with *args by mypy before 1.16.
    @property
    def __call__(self) -> Callable[Concatenate[T_contra, Q], R_co]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Bound(Generic[R_co]):
    """A workflow, or one step, with its input, ready to be started.

    `input` is in stored form, by parameter; `definition` is the graph the run will follow; `key` is what the
    workflow's own `key=` makes of the input.
    """

    name: str
    definition: Definition
    input: dict[str, Any]
    read_result: Callable[[Any], R_co]
    key: str | None = None


# ---- steps -----------------------------------------------------------------------------------------------------------


class Step(Generic[P, R_co]):
    """A function as a step of workflows. Outside of one it is the function it was."""

    def __init__(self, spec: StepSpec, said: Mapping[str, Any] | None = None) -> None:
        self.spec = spec
        self._said: dict[str, Any] = dict(said or {})
        self._definitions: dict[tuple[str, ...], Definition] = {}  # of runs of this step alone
        self.__doc__ = spec.description or None
        self.__name__ = spec.name.rpartition(".")[2]
        self.__wrapped__ = spec.function

    def __repr__(self) -> str:
        return f"<step {self.spec.name}>"

    @property
    def name(self) -> str:
        """The name definitions call it by."""
        return self.spec.name

    @property
    def fn(self) -> Callable[P, R_co]:
        """The plain function: charge.fn(...)."""
        return cast("Callable[P, R_co]", self._function())

    @property
    def afn(self) -> Callable[P, Coroutine[Any, Any, R_co]]:
        """The function of an `async def`: await charge.afn(...)."""
        if not self.spec.is_async:
            raise AuthoringError(f"{self.name} is no `async def`; its plain function is .fn")
        return cast("Callable[P, Coroutine[Any, Any, R_co]]", self._function())

    def _function(self) -> Callable[..., Any]:
        if self.spec.function is None:
            raise AuthoringError(f"{self.name} is known by its name alone; .delay(...) sends it, and a workflow can call it")
        return self.spec.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """In a workflow a task of its graph; elsewhere the function itself."""
        if active_trace() is not None:
            return cast("R_co", traced_call(self.spec, self._said, args, kwargs))
        if self._said:
            raise AuthoringError(f"the options of {self.name}.options(...) mean something only inside a @workflow")
        function = self._function()
        if self.spec.is_async:
            return cast("R_co", _awaitable(function, args, kwargs))
        with step_context():
            return cast("R_co", function(*args, **kwargs))

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R_co]:
        """A run of this one step, for start_workflow. `InvalidInput` tells everything wrong with its arguments."""
        stored, extras = one_input(self.spec, args, kwargs)
        definition = self._definitions.get(extras)
        if definition is None:
            definition = self._definitions[extras] = one_step(self.spec, self._said, extras)
        return Bound(self.name, definition, stored, self.spec.shape.read_result)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Submitted[R_co]:
        """Send it as the ordinary Celery task it also is: no run, no history, no promise."""
        if active_trace() is not None:
            raise refusal(f"{self.name}.delay(...) would be sent while the workflow is traced: call the step, or do it in a step")
        return registry.submit(self.spec, args, kwargs)

    def map(self: Fanned[T, Q, R], items: Iterable[T], /, *args: Q.args, **shared: Q.kwargs) -> list[R]:
        """One attempt for each item, which is the first parameter. Results in the order of the items."""
        step = cast("Step[..., Any]", self)
        return cast("list[R]", traced_map(step.spec, step._said, items, args, shared))

    def options(
        self,
        *,
        on_error: OnError | type[F] | None = None,
        compensate: Callable[P, object] | str | None = NOT_SAID,
        **options: Unpack[CallOptions],
    ) -> Step[P, R_co | F]:
        """The step with what this one call says. `on_error=Failed`: its value is then `R | Failed`, and the run goes on."""
        check_options(f"{self.name}.options()", options, CallOptions.__annotations__)
        if "name" in options:
            check_task_name(f"{self.name}.options(name)", options["name"])
        undo = {} if compensate is NOT_SAID else {"compensate": undoing(f"{self.name}.options(compensate)", compensate)}
        return Step(self.spec, {**self._said, **options, **fate(on_error), **undo})


async def _awaitable(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with step_context():
        return await function(*args, **kwargs)


class StepDecorator(Protocol):
    """`@step(...)`, called."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(**options: Unpack[StepOptions]) -> StepDecorator: ...
def step(fn: Any = None, /, **options: Any) -> Any:
    """Make a function a step: `@step`, or `@step(queue="payments", …)`."""
    check_options("@step", options, StepOptions.__annotations__)
    namespace = namespace_of_caller()

    def decorated(function: Callable[..., Any]) -> Step[..., Any]:
        spec = _spec(function, options, namespace)
        registry.add_step(spec)
        return Step(spec)

    return decorated if fn is None else decorated(fn)


def _spec(function: Any, options: Mapping[str, Any], namespace: Mapping[str, Any] | None) -> StepSpec:
    if isinstance(function, (staticmethod, classmethod)) or not inspect.isroutine(function):
        raise AuthoringError(f"@step takes a function, not {function!r}; in a class write @staticmethod above @step")
    first = next(iter(inspect.signature(function).parameters), None)
    origin = f"{function.__module__}.{function.__qualname__}"
    if first in ("self", "cls"):
        raise AuthoringError(f"{origin}: a step has no {first}; write @staticmethod above @step, and pass an id instead of an object")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AuthoringError(f"{origin}: a step returns its result; it does not yield")
    name = options.get("name") or usual_name(function)
    retry = options.get("retry", Retry())
    return StepSpec(
        name=name,
        function=function,
        shape=Shape(name, function, namespace=namespace),
        origin=origin,
        description=inspect.getdoc(function) or "",
        is_async=inspect.iscoroutinefunction(function),
        retry=(retry or NO_RETRY).policy(),
        aliases=tuple(options.get("aliases", ())),
        gates=gates_of_code(name, options),
        compensate=undoing("@step, compensate", options.get("compensate")),
        **_common(options),
    )


def _common(options: Mapping[str, Any]) -> dict[str, Any]:
    spans = {name: seconds(options[name]) for name in ("timeout", "soft_timeout") if options.get(name) is not None}
    plain = ("queue", "priority", "transactional", "isolation", "commit", "on_error")
    return spans | {name: options[name] for name in plain if name in options}


def usual_name(function: Callable[..., Any]) -> str:
    """Module and qualified name, as Celery names its tasks; of a script run with -m, its module."""
    module = function.__module__
    if module == "__main__":
        found = getattr(sys.modules["__main__"], "__spec__", None)
        module = found.name.removesuffix(".__main__") if found is not None else module
    return f"{module}.{function.__qualname__}".replace(".<locals>", "")


@overload
def adopt(task: str, /, *, like: Callable[P, R]) -> Step[P, R]: ...
@overload
def adopt(task: str, /, *, returns: type[AnyT] | None = None) -> Step[..., AnyT]: ...
@overload
def adopt(task: Callable[P, Any], /, *, returns: type[R]) -> Step[P, R]: ...
@overload
def adopt(task: Callable[P, R], /) -> Step[P, R]: ...
def adopt(task: Any, /, *, returns: Any = None, like: Any = None) -> Any:
    """A Celery task that exists, as a step, unchanged: the task, or its name.

    Its own retries, limits, queue and signals are kept. Values go in and out as they are, unless `like`
    lends it the types of a function that is never called, or `returns` the type of its result.
    """
    name = task if isinstance(task, str) else getattr(task, "name", None)
    if not isinstance(name, str) or not name:
        raise AuthoringError(f"adopt() takes a Celery task or its name, not {task!r}")
    function = like if like is not None else getattr(task, "run", None)
    promised: dict[str, Any] = {} if returns is None else {"returns": returns}
    shape = Shape(name, function, namespace=namespace_of_caller(), typed=like is not None, **promised)
    known = registry.find_step(name)
    if known is not None and not known.adopted:
        raise AuthoringError(f"{name} is a @step already; use it as it is")
    spec = StepSpec(
        name=name,
        function=None if isinstance(task, str) else task,
        shape=shape,
        origin=f"the Celery task {name}",
        description=inspect.getdoc(like or getattr(task, "run", None)) or "" if function is not None else "",
        adopted=True,
    )
    registry.add_step(spec)
    return Step(spec)


# ---- workflows -------------------------------------------------------------------------------------------------------


class Workflow(Generic[P, R_co]):
    """A function as a graph. It is called once, with references, when the graph is first needed."""

    def __init__(self, fn: Callable[..., Any], options: Mapping[str, Any], namespace: Mapping[str, Any] | None) -> None:
        self._fn = fn
        self._options = dict(options)
        self.name: str = options.get("name") or fn.__name__
        self.version: str = options.get("version", "1")
        self.origin = f"{fn.__module__}.{fn.__qualname__}"
        self.description = inspect.getdoc(fn) or ""
        self.parameters = Parameters(self.name, Shape(self.name, fn, namespace=namespace))
        self._definition: Definition | None = None
        self._said: dict[str, Any] = {}  # by options()
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    @property
    def definition(self) -> Definition:
        """The graph. Raises what is wrong with the function, as a sentence with its line."""
        if self._definition is None:
            # Traced twice by two threads at once, it is the same twice.
            self._definition = traced(self._fn, self.name, self.version, self.description, self.parameters, self._options)
        return self._definition

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R_co]:
        """The workflow with its input, for start_workflow. `InvalidInput` tells everything wrong with it."""
        if active_trace() is not None:
            raise refusal(f"{self.name}.bind(...) stands in a workflow that is being traced: start runs in a step")
        if self._said:
            raise AuthoringError(f"the options of {self.name}.options(...) mean something only inside a @workflow")
        stored = self.validate_input(self.parameters.shape.named(args, kwargs))
        return Bound(self.name, self.definition, stored, self.read_result, self._key_of(stored))

    def _key_of(self, stored: Mapping[str, Any]) -> str | None:
        key = self._options.get("key")
        if key is None:
            return None
        made = Template.parse(key).render({"parameters": stored})
        return made if isinstance(made, str) else as_text(made)

    def validate_input(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The stored form of an input given by name; `InvalidInput` tells everything wrong with it."""
        return self.parameters.validate(values)

    def read_result(self, stored: Any) -> Any:
        """A run's stored output, as the function's annotation says."""
        return self.parameters.shape.read_result(stored)

    @property
    def shape(self) -> Shape:
        """What the function takes and gives back."""
        return self.parameters.shape

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Inside another workflow a child run, for whose end that waits. Elsewhere it raises, and says how a workflow is run."""
        if active_trace() is None:
            raise refusal(f"{self.name} is a workflow and does not run when it is called: start_workflow({self.__name__}.bind(...))")
        return cast("R_co", traced_child(self, self._said, args, kwargs))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Inside another workflow a child run that nobody waits for: the id it has."""
        return cast("str", traced_child(self, self._said, args, kwargs, waits=False))

    def map(self: Fanned[T, Q, R], items: Iterable[T], /, *args: Q.args, **shared: Q.kwargs) -> list[R]:
        """One child run for each item, which is the first parameter. Results in the order of the items."""
        called = cast("Workflow[..., Any]", self)
        return cast("list[R]", traced_children(called, called._said, items, args, shared))

    def options(self, *, on_error: OnError | type[F] | None = None, **options: Unpack[ChildOptions]) -> Workflow[P, R_co | F]:
        """The workflow with what this one call says. `on_error=Failed`: its value is then `R | Failed`, and the run goes on."""
        check_options(f"{self.name}.options()", options, ChildOptions.__annotations__)
        if "name" in options:
            check_task_name(f"{self.name}.options(name)", options["name"])
        called = copy(self)
        called._said = {**self._said, **options, **fate(on_error)}
        return cast("Workflow[P, R_co | F]", called)


class WorkflowDecorator(Protocol):
    """`@workflow(...)`, called."""

    def __call__(self, fn: Callable[P, R], /) -> Workflow[P, R]: ...


@overload
def workflow(fn: Callable[P, R], /) -> Workflow[P, R]: ...
@overload
def workflow(**options: Unpack[WorkflowOptions]) -> WorkflowDecorator: ...
def workflow(fn: Any = None, /, **options: Any) -> Any:
    """Make a plain function a workflow: `@workflow`, or `@workflow(version="2", …)`."""
    check_options("@workflow", options, WorkflowOptions.__annotations__)
    hooks_of(options)  # raises what is wrong with them where they are written
    namespace = namespace_of_caller()

    def decorated(function: Any) -> Workflow[..., Any]:
        _refuse_what_cannot_be_traced(function)
        made: Workflow[..., Any] = Workflow(function, options, namespace)
        registry.add_workflow(made)
        return made

    return decorated if fn is None else decorated(fn)


def _refuse_what_cannot_be_traced(function: Any) -> None:
    if not inspect.isfunction(function):
        raise AuthoringError(f"@workflow takes a plain function, not {function!r}")
    origin = f"{function.__module__}.{function.__qualname__}"
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AuthoringError(f"{origin}: a workflow is a plain def: it is called once, to see its graph; its steps may be async")
    kinds = {each.kind for each in inspect.signature(function).parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise AuthoringError(f"{origin}: a workflow names its parameters; it takes no * and no **")
