"""The parameters and the result of an author's function: values in and out of stored form, as its annotations say."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from types import NoneType
from typing import Any
from uuid import UUID

from pydantic import (
    BaseModel,
    PydanticInvalidForJsonSchema,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    TypeAdapter,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, to_json, to_jsonable_python

from wfcelery.definition.extent import check_extent
from wfcelery.definition.redaction import Paths, of_schema
from wfcelery.definition.values import decode, encode
from wfcelery.errors import AuthoringError, CannotBind, CannotCarry

POSITIONAL = "*"  # the key of a stored input that holds positional arguments without a name

_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_UNSAID = inspect.Parameter.empty


class Shape:
    """What a function takes and gives back.

    Annotations are looked at when they are first needed, not when the function is defined: names may be
    defined later, or imported in a circle. `typed=False` takes the names of the parameters and leaves
    their types alone; without a function nothing is known and everything is passed as it came.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any] | None,
        *,
        namespace: Mapping[str, Any] | None = None,
        typed: bool = True,
        returns: Any = _UNSAID,
    ) -> None:
        self.name = name
        self._function = function
        self._namespace = namespace
        self._typed = typed
        self._returns = returns

    @cached_property
    def signature(self) -> inspect.Signature | None:
        return None if self._function is None else inspect.signature(self._function)

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters that have a name of their own, in order."""
        if self.signature is None:
            return {}
        starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {name: each for name, each in self.signature.parameters.items() if each.kind not in starred}

    @cached_property
    def starred(self) -> tuple[str | None, str | None]:
        """The names of `*args` and `**kwargs`, where the function has them."""
        kinds = {each.kind: name for name, each in (self.signature.parameters if self.signature else {}).items()}
        return kinds.get(inspect.Parameter.VAR_POSITIONAL), kinds.get(inspect.Parameter.VAR_KEYWORD)

    @cached_property
    def first(self) -> str | None:
        """The parameter that takes the item of a fan-out."""
        return next((name for name, each in self.parameters.items() if each.kind in _NAMED), None)

    @cached_property
    def _needed(self) -> frozenset[str] | None:
        """The parameters without a default, where all can be given by name: whoever gives these, and no others, can call."""
        if any(each.kind is inspect.Parameter.POSITIONAL_ONLY for each in self.parameters.values()):
            return None
        return frozenset(name for name, each in self.parameters.items() if each.default is _UNSAID)

    # ---- a call, by name ---------------------------------------------------------------------------------------------

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by their names, those without one under "*"; a TypeError as the call itself would."""
        if self.signature is None:
            return {POSITIONAL: list(args), **kwargs} if args else dict(kwargs)
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise AuthoringError(f"{self.name}: {error}") from None
        rest, extra = self.starred
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if name == rest:
                named[POSITIONAL] = list(value)
            elif name == extra:
                named.update(value)
            else:
                named[name] = value
        return named

    def store(self, name: str, value: Any) -> Any:
        """The stored form of one argument; raises a ValidationError where it does not fit its annotation."""
        adapter = self.adapters.get(name)
        if adapter is None:
            return encode(value)
        return _stored(adapter, adapter.validate_python(value, by_alias=True, by_name=True))

    # ---- the attempt -------------------------------------------------------------------------------------------------

    def bind(self, stored: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments to call the function with; `CannotBind` where the stored input no longer fits the code."""
        unnamed = list(decode(stored.get(POSITIONAL, [])))
        given = {name: value for name, value in stored.items() if name != POSITIONAL}
        if self.signature is None:
            return tuple(unnamed), {name: decode(value) for name, value in given.items()}
        kwargs = {name: self._revived(name, value) for name, value in given.items()}
        if not unnamed and self._needed is not None and self._needed <= kwargs.keys() <= self.parameters.keys():
            return (), kwargs
        first = [kwargs.pop(name) for name in self._passed_by_place(kwargs, bool(unnamed))]
        args = (*first, *unnamed)
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise CannotBind(self.name, str(error)) from None
        return args, kwargs

    def misfit(self, given: Iterable[str], unnamed: int = 0) -> str | None:
        """Why no call can be made with arguments of these names, and so many without one; None: it can. Their values are not looked at."""
        if self.signature is None:
            return None
        kwargs: dict[str, Any] = dict.fromkeys(given)
        first = [kwargs.pop(name) for name in tuple(self._passed_by_place(kwargs, bool(unnamed)))]
        try:
            self.signature.bind(*first, *([None] * unnamed), **kwargs)
        except TypeError as error:
            return str(error)
        return None

    def _passed_by_place(self, given: Mapping[str, Any], all_of_them: bool) -> Iterator[str]:
        for name, parameter in self.parameters.items():
            if name not in given or parameter.kind not in _NAMED:
                return
            if not all_of_them and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
                return
            yield name

    def _revived(self, name: str, stored: Any) -> Any:
        value = decode(stored)
        adapter = self.adapters.get(name)
        if adapter is None:
            return value
        try:
            return adapter.validate_python(value, by_alias=True, by_name=True)
        except ValidationError as error:
            # What a strict model wrote as a list or a text, it takes back from JSON alone.
            try:
                return adapter.validate_json(to_json(value), by_alias=True, by_name=True)
            except ValidationError:
                raise CannotBind(self.name, "; ".join(f"{at}: {what}" for at, what in told(error, name))) from None

    def carry(self, result: Any) -> Any:
        """The stored form of what the function returned; `CannotCarry` names the path and type that cannot be."""
        adapter = self.result
        if self._promised is NoneType:
            return None
        if adapter is None:
            return encode(result)
        try:
            value = adapter.validate_python(result, by_alias=True, by_name=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            raise CannotCarry(_path(first), type(first["input"]).__name__, f"{self.name} promises another: {first['msg']}") from None
        return _stored(adapter, value)

    def read_result(self, stored: Any) -> Any:
        """A stored result as the annotation says."""
        value = decode(stored)
        if self.result is None or self._promised is NoneType:
            return value
        try:
            return self.result.validate_python(value, by_alias=True, by_name=True)
        except ValidationError:
            if value is None:  # of a step that was skipped, whatever it promises
                return None
            return self.result.validate_json(to_json(value), by_alias=True, by_name=True)

    # ---- annotations -------------------------------------------------------------------------------------------------

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """The annotations as types."""
        if self._function is None or not self._typed:
            return {}
        target = inspect.unwrap(self._function)
        try:
            return typing.get_type_hints(target, localns=dict(self._namespace or {}), include_extras=True)
        except NameError as error:
            raise AuthoringError(f"{self.name}: an annotation names what is not defined: {error}") from None

    @cached_property
    def adapters(self) -> Mapping[str, TypeAdapter[Any]]:
        """How each annotated parameter is read and written; what is annotated Any, or not at all, has none."""
        return {name: self._adapter(name, hint) for name, hint in self.hints.items() if name in self.parameters and hint is not Any}

    @cached_property
    def result(self) -> TypeAdapter[Any] | None:
        """How the result is read and written, likewise."""
        return None if self._promised is Any else self._adapter("its result", self._promised)

    @cached_property
    def secret_result(self) -> Paths:
        """The secret fields of what it gives back; none where its annotation cannot be looked at."""
        try:
            adapter = self.result
        except AuthoringError:  # told where the function is called
            return frozenset()
        return frozenset() if adapter is None else of_schema(schema_of(adapter))

    @cached_property
    def secret_parameters(self) -> Paths:
        """The secret places in what it takes, by its parameters' names."""
        found = ((name, of_schema(schema_of(adapter))) for name, adapter in self.adapters.items())
        return frozenset((name, *path) for name, paths in found for path in paths)

    @cached_property
    def _promised(self) -> Any:
        return self._returns if self._returns is not _UNSAID else self.hints.get("return", Any)

    def _adapter(self, where: str, hint: Any) -> TypeAdapter[Any]:
        try:
            return TypeAdapter(hint)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
            shown = getattr(hint, "__name__", str(hint))
            raise AuthoringError(f"{self.name}: {where} is annotated {shown}, which pydantic cannot carry to another process") from None


class _Schemas(GenerateJsonSchema):
    """Says nothing of what a schema leaves out: nobody is asked to mend that."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic's own


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON schema of a type."""
    try:
        return dict(adapter.json_schema(mode="validation", by_alias=False, schema_generator=_Schemas))
    except PydanticInvalidForJsonSchema:
        return {}  # JSON has no word for it; the function's own process still checks it


def stored_by_itself(value: Any) -> Any:
    """The stored form of a value that no annotation speaks of; of a model or a dataclass by its own fields. Raises `CannotCarry`."""
    try:
        return encode(value)
    except CannotCarry:
        if not (isinstance(value, BaseModel) or is_dataclass(value)):
            raise
    return _stored(TypeAdapter(type(value)), value)


def told(error: ValidationError, name: str = "") -> list[tuple[str, str]]:
    """Everything wrong with a value as (where, what), without the value itself."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [(_path(each, name), each["msg"]) for each in found]


def _path(detail: ErrorDetails, name: str = "") -> str:
    path = name
    for part in detail["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _stored(adapter: TypeAdapter[Any], value: Any) -> Any:
    # By field name and without computed fields: so a template says order.total, and what was written can be read again.
    check_extent(value)
    dumped = adapter.dump_python(value, mode="python", by_alias=False, round_trip=True, warnings=False)
    try:
        return encode(dumped)
    except CannotCarry:
        return encode(_carriable(dumped))


def _carriable(value: Any) -> Any:
    """With what only pydantic can write (a span, a path, a URL) as it writes it in JSON."""
    if isinstance(value, dict):
        return {_carriable(key): _carriable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_carriable(item) for item in value]
    if value is None or isinstance(value, (str, int, float, datetime, date, time, Decimal, UUID, bytes)):
        return value
    return to_jsonable_python(value, fallback=lambda left: left)


def namespace_of_caller() -> Mapping[str, Any] | None:
    """The local names where a function is being decorated, or None at the top of a module.

    A function inside a function may be annotated with classes that only exist there.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("wfcelery.authoring"):
        frame = frame.f_back
    return None if frame.f_locals is frame.f_globals else frame.f_locals
