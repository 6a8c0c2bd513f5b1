"""A look at a workflow's source for what its trace cannot notice.

A trace sees what is done to a reference. It does not see `is None` and isinstance, which are decided before
a reference can speak, nor try and match, nor a return that leaves a block and drops the rest of the graph.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from wfcelery.errors import AuthoringError

_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_BLOCKS = frozenset({"when", "otherwise", "after"})
_ASKING = frozenset({"isinstance", "type", "id", "hasattr", "getattr", "callable", "repr", "vars", "dir"})


def check_source(function: Callable[..., Any], workflow: str) -> None:
    """Raise an `AuthoringError` with every line of the function that would not mean what it says."""
    lines = [f"{function.__module__}:{line}: {text}" for line, text in findings(function)]
    if lines:
        raise AuthoringError("\n".join(lines), where=workflow if len(lines) > 1 else None)


def findings(function: Callable[..., Any]) -> list[tuple[int, str]]:
    """(line, sentence) for each of them; nothing where there is no source to look at."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return []
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef):
        return []
    look = _Look(body)
    return sorted((first + line - 1, text) for line, text in look.told())


class _Look:
    def __init__(self, function: ast.FunctionDef) -> None:
        self.function = function
        arguments = function.args
        self.known_late = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        self._follow_assignments()

    def _follow_assignments(self) -> None:
        """Names that may hold a reference: the parameters, and what is made of a call or of such a name."""
        before = -1
        while before != len(self.known_late):
            before = len(self.known_late)
            for node in _inside(self.function):
                value = getattr(node, "value", None)
                if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign)) and value is not None and self._late(value):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    self.known_late.update(name.id for each in targets for name in ast.walk(each) if isinstance(name, ast.Name))

    def _late(self, node: ast.AST) -> bool:
        return any(isinstance(each, ast.Call) or (isinstance(each, ast.Name) and each.id in self.known_late) for each in ast.walk(node))

    def told(self) -> Iterator[tuple[int, str]]:
        for node in _inside(self.function):
            text = self._text(node)
            if text:
                yield getattr(node, "lineno", 1), text
        yield from _returns_in_blocks(self.function.body, None)

    def _text(self, node: ast.AST) -> str | None:
        match node:
            case ast.Compare(left, operators, others) if any(isinstance(each, (ast.Is, ast.IsNot)) for each in operators):
                if any(self._late(each) for each in (left, *others)):
                    return "`is` is decided while the workflow is traced: write is_none(x), in `with when(…):`"
            case ast.Call(ast.Name(name), arguments) if name in _ASKING and any(self._late(each) for each in arguments):
                return f"{name}() is decided while the workflow is traced, when the value is not there: do it in a step"
            case ast.Try() | ast.TryStar():
                return "a step that fails raises nothing here: write `with after(failed(x)):`, or try inside a step"
            case ast.Match(subject) if self._late(subject):
                return "match is decided while the workflow is traced: write `with when(x == …):` and `with otherwise(…):`"
            case ast.FormattedValue(value, conversion) if conversion != -1 and self._late(value):
                return "the value is not there while the workflow is traced: write text('… {}', x)"
        return None


def _returns_in_blocks(statements: list[ast.stmt], block: str | None) -> Iterator[tuple[int, str]]:
    for statement in statements:
        if isinstance(statement, _NESTED):
            continue
        if isinstance(statement, ast.Return) and block is not None:
            yield (
                statement.lineno,
                f"a return inside `with {block}(…):` ends the trace and drops the rest: return either(x, …) at the end",
            )
        within = _block_of(statement) or block
        for part in ("body", "orelse", "finalbody"):
            yield from _returns_in_blocks(getattr(statement, part, []), within)
        for handler in getattr(statement, "handlers", []):
            yield from _returns_in_blocks(handler.body, within)


def _block_of(statement: ast.stmt) -> str | None:
    if not isinstance(statement, ast.With):
        return None
    for item in statement.items:
        called = item.context_expr.func if isinstance(item.context_expr, ast.Call) else None
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else None
        if name in _BLOCKS:
            return name
    return None


def _inside(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Every node of the body, without that of functions and classes inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _NESTED):
            waiting.extend(ast.iter_child_nodes(node))
