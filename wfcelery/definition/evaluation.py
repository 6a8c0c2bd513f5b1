"""From the tree of an expression to its value.

References, calls and and/or/not are worked out here, over the stored values themselves, so that a
Decimal stays exact. Everything else is Jinja's and done by minijinja, which sees plain copies
(`values.for_template`) and no text of the author's: each literal and reference is a variable to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from minijinja import Environment, TemplateError

from wfcelery.definition import functions
from wfcelery.definition.grammar import FILTERS, TESTS
from wfcelery.definition.repeating import repeats_of
from wfcelery.definition.tokens import dotted
from wfcelery.definition.tree import (
    Binary,
    Call,
    Choice,
    DictOf,
    Filter,
    ListOf,
    Literal,
    Node,
    Ref,
    Slice,
    Subscript,
    Test,
    Unary,
    children,
)
from wfcelery.definition.values import MISSING, as_text, decode, dumps, encode, for_template, walk
from wfcelery.errors import ExpressionError, ValueProblem

Scope = Mapping[str, Any]

FUEL = 10_000
MOST_TEXT = 1_048_576  # characters that one evaluation may put together


class Undefined(Exception):  # noqa: N818 - it says what is so
    """A reference leads to nothing; the message is its path."""


# ---- exact -----------------------------------------------------------------------------------------------------------


def evaluate(node: Node, scope: Scope, program: Callable[[Node], Program]) -> Any:
    """The stored value of a tree. `program` gives minijinja's part for a node that is not worked out here."""
    match node:
        case Literal(value):
            return value
        case Ref(path):
            return _reached(path, scope)
        case Call(name, arguments):
            return _called(name, arguments, scope, program)
        case Binary("and", left, right):
            first = evaluate(left, scope, program)
            return evaluate(right, scope, program) if truth(first) else first
        case Binary("or", left, right):
            first = evaluate(left, scope, program)
            return first if truth(first) else evaluate(right, scope, program)
        case Unary("not", operand):
            return not truth(evaluate(operand, scope, program))
        case Choice(condition, then, other):
            return evaluate(then if truth(evaluate(condition, scope, program)) else other, scope, program)
        case ListOf(items):
            return [evaluate(item, scope, program) for item in items]
        case Subscript(base, key):
            return _below(evaluate(base, scope, program), decode(evaluate(key, scope, program)))
        case _:
            return program(node).run(scope, program)


def truth(stored: Any) -> bool:
    """Whether a stored value counts as true: not false, null, nought or empty."""
    return bool(decode(stored)) if type(stored) is dict else bool(stored)


def _reached(path: tuple[str | int, ...], scope: Scope) -> Any:
    value = walk(scope.get(str(path[0]), MISSING), path[1:])
    if value is MISSING:
        raise Undefined(dotted(path))
    return value


def _below(base: Any, key: Any) -> Any:
    found = walk(base, (key,)) if isinstance(key, (str, int)) and not isinstance(key, bool) else MISSING
    if found is MISSING:
        raise Undefined("what [ ] looks up")  # the key may be a value of the run
    return found


def _called(name: str, arguments: tuple[Node, ...], scope: Scope, program: Callable[[Node], Program]) -> Any:
    if name == "either":
        return _either(arguments, scope, program)
    if name in ("and_", "or_"):
        return _all_or_any(name, arguments, scope, program)
    values = [decode(evaluate(argument, scope, program)) for argument in arguments]
    return encode(functions.EXACT[name](*values))


def _either(arguments: tuple[Node, ...], scope: Scope, program: Callable[[Node], Program]) -> Any:
    """The first alternative all of whose tasks ran; null where there is none."""
    for argument in arguments:
        if _ran(argument, scope):
            return evaluate(argument, scope, program)
    return None


def _ran(node: Node, scope: Scope) -> bool:
    if isinstance(node, Ref) and node.path[0] == "task":
        return walk(scope.get("task", MISSING), (node.path[1], "status")) not in (MISSING, "skipped", "cancelled")
    if isinstance(node, Call) and node.name == "either":
        return any(_ran(argument, scope) for argument in node.arguments)
    return all(_ran(child, scope) for child in children(node))


def _all_or_any(name: str, arguments: tuple[Node, ...], scope: Scope, program: Callable[[Node], Program]) -> bool:
    tests = (truth(evaluate(argument, scope, program)) for argument in arguments)
    return all(tests) if name == "and_" else any(tests)


# ---- minijinja -------------------------------------------------------------------------------------------------------


class _Spent(threading.local):
    characters = 0


_spent = _Spent()


def _spend(characters: int) -> None:
    _spent.characters += characters
    if _spent.characters > MOST_TEXT:
        raise ValueProblem(f"more than {MOST_TEXT} characters of text come together")


def _concat(left: Any, right: Any) -> str:
    first, second = as_text(left), as_text(right)
    _spend(len(first) + len(second))
    return first + second


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return _concat(left, right)
    if isinstance(left, list) and isinstance(right, list):
        _spend(len(left) + len(right))
    return functions.add(left, right)


def _join(values: Any, separator: Any = "", attribute: str | None = None) -> str:
    if isinstance(values, Mapping):
        values = list(values)
    parts = [as_text(value[attribute] if attribute is not None else value) for value in values]
    between = as_text(separator)
    _spend(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, gone, come = as_text(value), as_text(old), as_text(new)
    _spend(len(text) + max(0, len(come) - len(gone)) * text.count(gone))
    return text.replace(gone, come)


def _tojson(value: Any) -> str:
    text = dumps(for_template(encode(value)))
    _spend(len(text))
    return text


def _environment() -> Environment:
    made = Environment(undefined_behavior="strict", fuel=FUEL, pycompat=False, debug=False)
    for name in ("range", "dict", "debug", "cycler", "joiner", "namespace", "lipsum"):
        made.remove_global(name)
    for name in _ALL_FILTERS - FILTERS:
        made.remove_filter(name)
    for name in _ALL_TESTS - TESTS:
        made.remove_test(name)
    made.add_test("divisibleby", functions.divisible)  # minijinja's own panics over 0
    filters: dict[str, Callable[..., Any]] = {"join": _join, "replace": _replace, "tojson": _tojson}
    for name, function in filters.items():
        made.add_filter(name, function)
    for name, function in {"_add": _add, "_mul": functions.mul, "_pow": functions.power, "_concat": _concat}.items():
        made.add_global(name, function)
    return made


_ALL_FILTERS = FILTERS | frozenset(
    (
        *("attr", "batch", "capitalize", "center", "chain", "e", "escape", "filesizeformat", "format", "indent", "lines", "pluralize"),
        *("pprint", "random", "safe", "slice", "striptags", "truncate", "wordcount", "wordwrap", "xmlattr"),
    )
)
_ALL_TESTS = TESTS | {"filter", "test", "escaped", "safe"}
_SIGNS = {"+": "_add", "*": "_mul", "**": "_pow", "~": "_concat"}

# One for the process: a program is a template of it, added when it first runs and removed with the program.
ENVIRONMENT = _environment()
_numbers = count()


class Program:
    """One tree as a template of the shared environment."""

    __slots__ = ("_constants", "_name", "_nodes", "_references", "_repeats")

    def __init__(self, node: Node) -> None:
        self._constants: dict[str, Any] = {}
        self._references: dict[tuple[str | int, ...], str] = {}
        self._nodes: list[tuple[str, Node]] = []
        self._name = f"expression{next(_numbers)}"
        self._repeats = repeats_of(node)
        written = self._written(node)
        try:
            ENVIRONMENT.add_template(self._name, f"{{% set x = {written} %}}{{{{ out(x is defined) }}}}{{{{ out(x) }}}}")
        except TemplateError as error:
            raise ValueProblem(_first_line(error)) from error

    def __del__(self, remove: Callable[[str], None] = ENVIRONMENT.remove_template) -> None:
        remove(self._name)

    def run(self, scope: Scope, program: Callable[[Node], Program]) -> Any:
        """The stored value."""
        seen: list[Any] = []
        variables: dict[str, Any] = {**self._constants, "out": seen.append}
        missing = []
        self._repeats.check(scope)
        for path, name in self._references.items():
            value = walk(scope.get(str(path[0]), MISSING), path[1:])
            if value is MISSING:
                missing.append(path)
            else:
                variables[name] = for_template(value)
        for name, node in self._nodes:
            variables[name] = lambda node=node: for_template(evaluate(node, scope, program))
        before = _spent.characters
        try:
            ENVIRONMENT.render_template(self._name, **variables)
        except TemplateError as error:
            if missing:
                raise Undefined(dotted(missing[0])) from error
            raise ValueProblem(_first_line(error)) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of minijinja's Rust, and no Exception
                raise
            raise ValueProblem("it cannot be worked out") from error
        finally:
            _spent.characters = before
        if not seen[0]:
            raise Undefined(dotted(missing[0]) if missing else "the result")
        return encode(_plain(seen[1]))

    # -- writing

    def _written(self, node: Node) -> str:
        match node:
            case Literal(value):
                return self._constant(value)
            case Ref(path):
                return self._references.setdefault(path, f"r{len(self._references)}")
            case Call():
                self._nodes.append((f"f{len(self._nodes)}", node))
                return f"{self._nodes[-1][0]}()"
            case Subscript(base, key):
                return f"({self._written(base)})[{self._written(key)}]"
            case Slice(base, parts):
                return f"({self._written(base)})[{':'.join('' if part is None else self._written(part) for part in parts)}]"
            case ListOf(items):
                return f"[{', '.join(map(self._written, items))}]"
            case DictOf(pairs):
                return f"{{{', '.join(f'{self._written(key)}: {self._written(value)}' for key, value in pairs)}}}"
            case Unary(sign, operand):
                return f"({sign} {self._written(operand)})"
            case Binary(sign, left, right):
                first, second = self._written(left), self._written(right)
                return f"{_SIGNS[sign]}({first}, {second})" if sign in _SIGNS else f"({first} {sign} {second})"
            case Filter(operand, name, arguments):
                return f"({self._written(operand)}|{name}{self._arguments(arguments)})"
            case Test(operand, name, arguments, negated):
                return f"({self._written(operand)} is {'not ' if negated else ''}{name}{self._arguments(arguments)})"
            case Choice(condition, then, other):
                return f"({self._written(then)} if {self._written(condition)} else {self._written(other)})"

    def _constant(self, value: Any) -> str:
        if value is None or isinstance(value, bool):
            return "none" if value is None else "true" if value else "false"
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def _arguments(self, arguments: tuple[tuple[str | None, Node], ...]) -> str:
        if not arguments:
            return ""
        return "(" + ", ".join(self._written(value) if key is None else f"{key}={self._written(value)}" for key, value in arguments) + ")"


def _plain(value: Any) -> Any:
    # A safe string is a subclass of str, a lazy sequence none of list.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bool, int, float, type(None))):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _first_line(error: TemplateError) -> str:
    return str(error).splitlines()[0].rsplit(" (in ", 1)[0]


def explained(source: str, error: Exception) -> ExpressionError:
    """The error that names the expression."""
    if isinstance(error, ExpressionError):
        return error
    if isinstance(error, Undefined):
        return ExpressionError(source, f"{error} is undefined")
    return ExpressionError(source, str(error) or type(error).__name__)
