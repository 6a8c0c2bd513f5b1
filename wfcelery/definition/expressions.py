"""Expressions, and the templates that hold them: parsed once, evaluated over what a run has recorded.

A scope maps roots to stored values: `parameters`, `vars`, `task` (name -> status, result, output,
results, failed_items, error), `item`, `index`, `system`, `error`. Undefined is an error that names
the expression. Keys called items, keys or get are data like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache, reduce
from typing import Any

from wfcelery.definition.evaluation import MOST_TEXT, Program, Undefined, evaluate, explained, truth
from wfcelery.definition.extent import composed
from wfcelery.definition.grammar import ROOTS, parse, trouble_with_path, unknown_root
from wfcelery.definition.secrets import secret_reference
from wfcelery.definition.tokens import end_of_expression
from wfcelery.definition.tree import Binary, Choice, Node, Ref, walk_tree
from wfcelery.definition.values import MARK, MISSING, as_text, mark_of, reference, walk
from wfcelery.errors import ExpressionError, ValueProblem

Scope = Mapping[str, Any]

_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+", re.ASCII)
_RECORDED = frozenset({"result", "output", "results", "error"})
_EXPECTED = (ValueProblem, Undefined, ArithmeticError, TypeError, ValueError, RecursionError)


class Expression:
    """One expression, such as `task.charge.result.total > 500`, with or without `{{ }}` around it."""

    def __init__(self, source: str, tree: Node) -> None:
        self.source = source
        self._tree = tree
        self._programs: dict[int, Program] = {}
        self.path: tuple[str | int, ...] | None = tree.path if isinstance(tree, Ref) else None

    @staticmethod
    def parse(source: str) -> Expression:
        """The expression; raises `ExpressionError` with what is wrong with it."""
        return _parsed(bare(source))

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    @cached_property
    def paths(self) -> frozenset[tuple[str | int, ...]]:
        """Every reference in it, as far as it is written out; the first part is the root's usual name."""
        return frozenset(node.path for node in walk_tree(self._tree) if isinstance(node, Ref))

    @cached_property
    def roots(self) -> frozenset[str]:
        """The scopes it looks at."""
        return frozenset(str(path[0]) for path in self.paths)

    @cached_property
    def tasks(self) -> frozenset[str]:
        """The tasks it looks at."""
        return frozenset(str(path[1]) for path in self.paths if path[0] == "task")

    @cached_property
    def reference(self) -> dict[str, Any] | None:
        """The mark that can stand for it, where it is one plain reference to what is recorded and never changes."""
        path = self.path
        if path is None:
            return None
        if path[0] == "secret":
            return secret_reference(str(path[1]))
        if (path[0] == "parameters" and len(path) > 1) or (path[0] == "task" and len(path) > 2 and path[2] in _RECORDED):
            return reference(str(path[0]), *path[1:])
        return None

    def evaluate(self, scope: Scope) -> Any:
        """The stored value; raises `ExpressionError`, which names the expression."""
        path = self.path
        try:
            if path is None:
                return composed(evaluate(self._tree, scope, self._program))
            if path[0] == "secret":
                return self.reference
            value = walk(scope.get(str(path[0]), MISSING), path[1:])
        except _EXPECTED as error:
            raise explained(self.source, error) from error
        if value is MISSING:
            raise ExpressionError(self.source, "it is undefined")
        return value

    def holds(self, scope: Scope) -> bool:
        """Whether it is true: not false, null, nought or empty."""
        return truth(self.evaluate(scope))

    def parted(self, roots: frozenset[str]) -> tuple[Expression | None, Expression | None]:
        """The parts of an `and` before the first that looks at one of these roots, and the others; together they are the whole.

        What is false in the first alone makes the whole false, and nothing behind it would have been looked at.
        """
        parts = list(_parts_of(self._tree))
        before = 0
        while before < len(parts) and not roots & _roots(parts[before]):
            before += 1
        return self._joined(parts[:before]), self._joined(parts[before:])

    @property
    def operand(self) -> str:
        """Its text as one part of an `and`."""
        tree = self._tree
        weaker = isinstance(tree, Choice) or (isinstance(tree, Binary) and tree.sign == "or")
        return f"({self.source})" if weaker else self.source

    def _joined(self, parts: list[Node]) -> Expression | None:
        return Expression(self.source, reduce(lambda left, right: Binary("and", left, right), parts)) if parts else None

    def _program(self, node: Node) -> Program:
        program = self._programs.get(id(node))
        if program is None:
            program = self._programs[id(node)] = Program(node)
        return program


def _parts_of(tree: Node) -> Iterator[Node]:
    """The operands of an `and`, or the tree itself."""
    if isinstance(tree, Binary) and tree.sign == "and":
        yield from _parts_of(tree.left)
        yield from _parts_of(tree.right)
    else:
        yield tree


def _roots(tree: Node) -> set[str]:
    return {str(node.path[0]) for node in walk_tree(tree) if isinstance(node, Ref)}


def bare(source: str) -> str:
    """An expression without the braces it may be written in."""
    text = source.strip()
    if text.startswith("{{") and end_of_expression(text, 2) == len(text) - 2:
        text = text[2:-2].strip()
    return text


@lru_cache(maxsize=16_384)
def _parsed(source: str) -> Expression:
    if _PATH.fullmatch(source):
        root, *rest = source.split(".")
        if root not in ROOTS:
            raise ExpressionError(source, unknown_root(root))
        path = (ROOTS[root], *rest)
        if trouble := trouble_with_path(path):
            raise ExpressionError(source, trouble)
        return Expression(source, Ref(path))
    return Expression(source, parse(source))


def escaped(text: str) -> str:
    """A text as a template that gives back the very same text."""
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


# ---- templates -------------------------------------------------------------------------------------------------------


class Template:
    """A value with expressions in it, at any depth.

    A text that is one whole `{{ expression }}` becomes that expression's value; a mixed text a text.
    """

    def __init__(self, value: Any, shape: _Shape) -> None:
        self.value = value
        self._shape = shape

    @staticmethod
    def parse(value: Any) -> Template:
        """The template of a stored value; raises `ExpressionError` for the first expression that is wrong."""
        return Template(value, _shape(value))

    def __repr__(self) -> str:
        return f"Template({self.value!r})"

    @property
    def constant(self) -> bool:
        """Whether there is no expression in it."""
        return isinstance(self._shape, _Constant)

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        """All expressions in it."""
        return tuple(self._shape.expressions())

    @cached_property
    def tasks(self) -> frozenset[str]:
        """The tasks it looks at."""
        return frozenset().union(*(expression.tasks for expression in self.expressions))

    @cached_property
    def roots(self) -> frozenset[str]:
        """The scopes it looks at."""
        return frozenset().union(*(expression.roots for expression in self.expressions))

    @cached_property
    def copies(self) -> frozenset[str]:
        """The tasks whose values `render(..., references=True)` must see, because no mark can stand for them."""
        return frozenset().union(*(expression.tasks for expression in self._shape.copied()))

    @property
    def is_whole(self) -> bool:
        """Whether it is one text that is one expression."""
        return isinstance(self._shape, _Whole)

    @property
    def is_secret(self) -> bool:
        """Whether it is one whole reference to a secret."""
        return isinstance(self._shape, _Whole) and (self.expressions[0].path or ("",))[0] == "secret"

    @cached_property
    def only_refers(self) -> bool:
        """Whether `render(..., references=True)` sees no scope at all: it puts together what is written here, and marks."""
        return not any(True for _ in self._shape.copied())

    def render(self, scope: Scope, references: bool = False) -> Any:
        """The stored value. With `references` a value that is one whole reference becomes a mark instead of a copy."""
        rendered = self._shape.render(scope, references)
        if not isinstance(self._shape, _List | _Dict) or (references and self.only_refers):
            return rendered
        try:
            return composed(rendered)
        except ValueProblem as problem:
            raise explained(self.expressions[0].source, problem) from problem


class _Constant:
    """No expression anywhere below."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def expressions(self) -> Iterator[Expression]:
        return iter(())

    copied = expressions

    def render(self, _scope: Scope, _references: bool) -> Any:
        return self._value


class _Whole:
    """One text that is one expression."""

    __slots__ = ("_expression",)

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def expressions(self) -> Iterator[Expression]:
        yield self._expression

    def copied(self) -> Iterator[Expression]:
        if self._expression.reference is None:
            yield self._expression

    def render(self, scope: Scope, references: bool) -> Any:
        mark = self._expression.reference if references else None
        return self._expression.evaluate(scope) if mark is None else mark


class _Mixed:
    """A text with expressions in it."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[str | Expression]) -> None:
        self._parts = parts

    def expressions(self) -> Iterator[Expression]:
        return (part for part in self._parts if isinstance(part, Expression))

    copied = expressions

    def render(self, scope: Scope, _references: bool) -> Any:
        written: list[str] = []
        length = 0
        for part in self._parts:
            text = part if isinstance(part, str) else as_text(part.evaluate(scope))
            length += len(text)
            if length > MOST_TEXT:
                raise ExpressionError(part if isinstance(part, str) else part.source, f"the text has more than {MOST_TEXT} characters")
            written.append(text)
        return "".join(written)


class _List:
    """A list with an expression somewhere below."""

    __slots__ = ("_items",)

    def __init__(self, items: list[_Shape]) -> None:
        self._items = items

    def expressions(self) -> Iterator[Expression]:
        return (expression for item in self._items for expression in item.expressions())

    def copied(self) -> Iterator[Expression]:
        return (expression for item in self._items for expression in item.copied())

    def render(self, scope: Scope, references: bool) -> Any:
        return [item.render(scope, references) for item in self._items]


class _Dict:
    """A dict with an expression somewhere below; `literal` where the author's own dict looks like a mark."""

    __slots__ = ("_items", "_literal")

    def __init__(self, items: dict[str, _Shape], literal: bool) -> None:
        self._items = items
        self._literal = literal

    def expressions(self) -> Iterator[Expression]:
        return (expression for item in self._items.values() for expression in item.expressions())

    def copied(self) -> Iterator[Expression]:
        return (expression for item in self._items.values() for expression in item.copied())

    def render(self, scope: Scope, references: bool) -> Any:
        rendered = {key: item.render(scope, references) for key, item in self._items.items()}
        return {MARK: ["literal", rendered]} if self._literal else rendered


_Shape = _Constant | _Whole | _Mixed | _List | _Dict


def _shape(value: Any) -> _Shape:
    if isinstance(value, str):
        return _text_shape(value)
    if isinstance(value, list):
        items = [_shape(item) for item in value]
        return _Constant(value) if all(isinstance(item, _Constant) for item in items) else _List(items)
    if isinstance(value, dict):
        mark = mark_of(value)
        if mark is not None and mark[0] != "literal":
            return _Constant(value)
        shapes = {key: _shape(item) for key, item in (value if mark is None else mark[1]).items()}
        if all(isinstance(shape, _Constant) for shape in shapes.values()):
            return _Constant(value)
        return _Dict(shapes, literal=mark is not None)
    return _Constant(value)


def _text_shape(text: str) -> _Shape:
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return _Constant(text)
    parts = list(_parts(text))
    if not any(isinstance(part, Expression) for part in parts):
        return _Constant(text)
    if len(parts) == 1 or (len(parts) == 2 and "" in parts):
        return _Whole(next(part for part in parts if isinstance(part, Expression)))
    return _Mixed(parts)


def _parts(text: str) -> Iterator[str | Expression]:
    whole = text.strip()
    if whole.startswith("{{") and end_of_expression(whole, 2) == len(whole) - 2:
        text = whole
    at = 0
    while (begin := re.compile(r"\{[{%#]").search(text, at)) is not None:
        if begin[0] != "{{":
            raise ExpressionError(
                text[begin.start() : begin.start() + 40], "only {{ expressions }} stand in a text, no statements or comments"
            )
        end = end_of_expression(text, begin.end())
        if end < 0:
            raise ExpressionError(text[begin.start() : begin.start() + 40], "its }} is missing")
        if begin.start() > at:
            yield text[at : begin.start()]
        yield _parsed(text[begin.end() : end].strip())
        at = end + 2
    if at < len(text):
        yield text[at:]
