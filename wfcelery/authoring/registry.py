"""Every step and workflow this process knows, by name."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from wfcelery.authoring.options import Commit, Isolation, OnError
from wfcelery.authoring.shape import Shape
from wfcelery.definition.built_in import BUILT_IN
from wfcelery.definition.model import Definition
from wfcelery.definition.plan import RetryPolicy
from wfcelery.errors import AuthoringError, Misconfigured, NotFound


@dataclass(frozen=True, slots=True, eq=False)
class StepSpec:
    """What the code says of one step.

    `function` is the author's; None for an adopted task that was named by its name alone: Celery's own
    task of that name is called then. Spans are seconds. `retry` is None where nothing was said: a step of
    ours has the default policy written here, an adopted task follows its own.
    """

    name: str
    function: Callable[..., Any] | None
    shape: Shape
    origin: str  # module and qualified name of the function; what tells a reload from a second function
    description: str = ""
    adopted: bool = False
    is_async: bool = False
    retry: RetryPolicy | None = None
    timeout: float | None = None
    soft_timeout: float | None = None
    queue: str | None = None
    priority: int | None = None
    transactional: bool = False
    isolation: Isolation | None = None
    commit: Commit = "group"
    gates: tuple[Mapping[str, Any], ...] = ()
    compensate: Mapping[str, Any] | None = None  # what undoes it, as a definition writes it
    on_error: OnError | None = None
    aliases: tuple[str, ...] = ()
    # Whether a call of a transactional step with this stored input needs no transaction of ours after all.
    elsewhere: Callable[[Mapping[str, Any]], bool] = lambda stored: False  # noqa: ARG005

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, in order; empty where the signature is unknown."""
        return tuple(self.shape.parameters)

    def bind(self, stored: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of an attempt; `CannotBind` where the stored input no longer fits the code."""
        return self.shape.bind(stored)

    def carry(self, result: Any) -> Any:
        """The stored form of a result; `CannotCarry` (code `bad_result`) names the path and type that cannot be."""
        return self.shape.carry(result)


class Submitted(Protocol):
    """What `.delay()` gives back: Celery's AsyncResult, as far as it is promised."""

    id: str

    def get(self, timeout: float | None = None) -> Any: ...

    def ready(self) -> bool: ...


class NamedWorkflow(Protocol):
    """A workflow as the registry and the services see it."""

    @property
    def name(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def definition(self) -> Definition: ...

    def validate_input(self, values: Mapping[str, Any]) -> dict[str, Any]: ...

    def read_result(self, stored: Any) -> Any: ...


Submitter = Callable[[StepSpec, tuple[Any, ...], dict[str, Any]], Submitted]


@dataclass(slots=True)
class Registry:
    """Names to steps and workflows. One name means one function; the same function may be registered again."""

    _steps: dict[str, StepSpec] = field(default_factory=dict)
    _aliases: dict[str, str] = field(default_factory=dict)
    _workflows: dict[str, NamedWorkflow] = field(default_factory=dict)
    _forms: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _listeners: list[Callable[[StepSpec], None]] = field(default_factory=list)
    _submitter: Submitter | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # ---- forms of approvals ------------------------------------------------------------------------------------------

    def add_form(self, name: str, schema: Mapping[str, Any]) -> None:
        """Keep the JSON schema of a model under its name; the last one counts."""
        self._forms[name] = schema

    def find_form(self, name: str) -> Mapping[str, Any] | None:
        """The schema of a model, where this process knows it."""
        return self._forms.get(name)

    # ---- steps -------------------------------------------------------------------------------------------------------

    def add_step(self, spec: StepSpec) -> None:
        """Register a step, and tell whoever listens."""
        for name in (spec.name, *spec.aliases):
            self.find_step(name)  # one of ours is loaded before its name is given away; not under the lock, as an import has its own
        self._put(spec)

    def _put(self, spec: StepSpec) -> None:
        with self._lock:
            for name in (spec.name, *spec.aliases):
                self._refuse_a_second(name, spec)
            self._steps[spec.name] = spec
            self._aliases.update(dict.fromkeys(spec.aliases, spec.name))
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(spec)

    def _refuse_a_second(self, name: str, spec: StepSpec) -> None:
        known = self._known(name)
        if known is not None and known.origin != spec.origin:
            raise AuthoringError(f"two steps are called {name}: {known.origin} and {spec.origin}; give one of them name=")

    def find_step(self, name: str) -> StepSpec | None:
        """The step of that name or alias; a built-in one is loaded when it is first asked for."""
        found = self._known(name)
        if found is None and name in BUILT_IN:
            self._load(name)
            found = self._known(name)
        return found

    def _known(self, name: str) -> StepSpec | None:
        return self._steps.get(name) or self._steps.get(self._aliases.get(name, ""))

    def _load(self, name: str) -> None:
        """Have a built-in step of ours here. Its module registers it; in a registry that is not the process's own we do."""
        made = getattr(import_module(BUILT_IN[name].module), name.rpartition(".")[2], None)
        if made is not None and self._known(name) is None:  # else the module is just being loaded, and registers it itself
            self._put(made.spec)

    def load_built_in(self) -> None:
        """Have all built-in steps here: a worker that starts makes tasks of them too. What they need is loaded with their first call."""
        for name in BUILT_IN:
            self.find_step(name)

    def step(self, name: str) -> StepSpec:
        """The step of that name or alias; `NotFound` with what is near."""
        found = self.find_step(name)
        if found is None:
            raise NotFound("step", name, difflib.get_close_matches(name, {*self._steps, *BUILT_IN}, 2, cutoff=0.8))
        return found

    def steps(self) -> Iterator[StepSpec]:
        """All steps, each once, by name."""
        with self._lock:
            known = sorted(self._steps.items())
        return (spec for _, spec in known)

    def on_step(self, listener: Callable[[StepSpec], None]) -> None:
        """Have `listener` called with every step: those there are, and each that comes."""
        with self._lock:
            self._listeners.append(listener)
            known = tuple(self._steps.values())
        for spec in known:
            listener(spec)

    def submit_with(self, submitter: Submitter | None) -> None:
        """Say how `.delay()` sends a step's ordinary Celery task."""
        self._submitter = submitter

    def submit(self, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submitted:
        """Send a step's ordinary Celery task."""
        if self._submitter is None:
            raise Misconfigured(f"{spec.name}.delay() needs a Celery app: call wfcelery.install(app) first")
        return self._submitter(spec, args, kwargs)

    # ---- workflows ---------------------------------------------------------------------------------------------------

    def add_workflow(self, workflow: NamedWorkflow) -> None:
        """Register a workflow."""
        with self._lock:
            known = self._workflows.get(workflow.name)
            # One that was made inside a function is gone with it: another may take its name.
            if known is not None and known.origin != workflow.origin and "<locals>" not in known.origin:
                raise AuthoringError(
                    f"two workflows are called {workflow.name}: {known.origin} and {workflow.origin}; give one of them name="
                )
            self._workflows[workflow.name] = workflow

    def find_workflow(self, name: str) -> NamedWorkflow | None:
        """The workflow of that name."""
        return self._workflows.get(name)

    def workflow(self, name: str) -> NamedWorkflow:
        """The workflow of that name; `NotFound` with what is near."""
        found = self._workflows.get(name)
        if found is None:
            raise NotFound("workflow", name, difflib.get_close_matches(name, self._workflows, 2, cutoff=0.8))
        return found

    def workflows(self) -> Iterator[NamedWorkflow]:
        """All workflows, by name."""
        with self._lock:
            known = sorted(self._workflows.items())
        return (workflow for _, workflow in known)

    def names(self) -> Sequence[str]:
        """Every name and alias a definition may use as an action."""
        with self._lock:
            return sorted({*self._steps, *self._aliases, *BUILT_IN})


registry = Registry()
