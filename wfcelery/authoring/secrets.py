"""What an author says of values that people must not read: secrets by their names, and fields that are secret."""

from __future__ import annotations

import re
from typing import Any, TypeVar, cast, overload

from wfcelery.authoring.formulas import Formula
from wfcelery.authoring.references import Reference
from wfcelery.authoring.tracing import current_trace, refusal

T = TypeVar("T")


class Secret:
    """Marks what people must not read: `card: Annotated[str, Secret()]`, of a parameter, a field of a model, or a step's result.

    It is stored and passed on as it is; the command line, errors and logs show `***`. pydantic's `SecretStr` says the same.
    """

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "secret": True}


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


@overload
def secret(name: str, /) -> str: ...
@overload
def secret(name: str, /, *, type: type[T]) -> T: ...
def secret(name: str, /, *, type: Any = str) -> Any:  # noqa: A002, ARG001 - for type checkers
    """A secret as an argument of a step: looked up by its name just before each call, and stored nowhere.

    It stands for a whole argument, or a whole value inside one; nothing can be made of it before the call.
    """
    current_trace("secret()")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise refusal(f"secret({name!r}): a name is letters and digits, with single underscores between them")
    return cast("Any", Reference(Formula(f"secret.{name}", plain=True)))
