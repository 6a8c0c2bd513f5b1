"""The parameters of a workflow: their schema in the definition, and the check of an input against them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from wfcelery.authoring.shape import Shape, schema_of, told
from wfcelery.errors import AuthoringError, CannotCarry, InvalidInput

_UNSAID = inspect.Parameter.empty


class Parameters:
    """What a workflow wants, as its function's annotations say."""

    def __init__(self, workflow: str, shape: Shape) -> None:
        self.workflow = workflow
        self.shape = shape

    def document(self) -> dict[str, dict[str, Any]]:
        """The parameters as a definition writes them."""
        return {name: self._document(name, parameter) for name, parameter in self.shape.parameters.items()}

    def _document(self, name: str, parameter: inspect.Parameter) -> dict[str, Any]:
        adapter = self.shape.adapters.get(name)
        schema = {} if adapter is None else schema_of(adapter)
        schema.pop("default", None)
        if "required" in schema:  # of its fields; in a definition `required` says whether the parameter has to be given
            schema["allOf"] = [*schema.get("allOf", ()), {"required": schema.pop("required")}]
        if parameter.default is _UNSAID:
            return {**schema, "required": True}
        try:
            return {**schema, "required": False, "default": self.shape.store(name, parameter.default)}
        except (CannotCarry, ValidationError) as error:
            raise AuthoringError(f"{self.workflow}: the default of {name} cannot be stored: {error}") from None

    def validate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The stored form of an input given by name, defaults filled in; `InvalidInput` tells everything wrong with it."""
        wrong: list[tuple[str, str]] = []
        known = self.shape.parameters
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                wrong.append((name, "there is no such parameter" + (f"; did you mean {near[0]}?" if near else "")))
        stored: dict[str, Any] = {}
        for name, parameter in known.items():
            if name in values or parameter.default is not _UNSAID:
                self._keep(name, values.get(name, parameter.default), stored, wrong)
            else:
                wrong.append((name, "it is missing"))
        if wrong:
            raise InvalidInput(self.workflow, wrong)
        return stored

    def _keep(self, name: str, value: Any, stored: dict[str, Any], wrong: list[tuple[str, str]]) -> None:
        try:
            stored[name] = self.shape.store(name, value)
        except ValidationError as error:
            wrong.extend(told(error, name))
        except CannotCarry as error:
            wrong.append((f"{name}{'' if error.path.startswith('[') else '.'}{error.path}" if error.path else name, error.why))
