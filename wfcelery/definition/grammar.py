"""The grammar of expressions: from `task.charge.result.total > 500` to a tree.

Jinja's operators, filters and tests over a few scopes. There are no methods, no statements and no
functions beside those listed here, so a tree holds nothing but data and operations that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from wfcelery.definition.tokens import END, tokens, unescaped
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
from wfcelery.errors import ExpressionError

# What a name at the start of a reference can be; the spelling on the right is the one that is kept.
ROOTS: Mapping[str, str] = {
    "parameters": "parameters",
    "vars": "vars",
    "variables": "vars",
    "workflow": "vars",
    "task": "task",
    "tasks": "task",
    "item": "item",
    "index": "index",
    "last": "last",
    "round": "round",
    "system": "system",
    "error": "error",
    "event": "event",
    "secret": "secret",
}
TASK_FIELDS = ("status", "result", "output", "results", "failed_items", "error")

# Functions over the revived values, exact; what a traced comparison or calculation becomes. Name -> arguments.
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow"), (2, 2)),
    **dict.fromkeys(("and_", "or_", "either"), (2, 16)),
    **dict.fromkeys(("not_", "neg", "is_none", "required", "decimal", "datetime", "date", "time", "uuid"), (1, 1)),
}
# Left out on purpose: whatever can multiply its input (indent, center, format, batch, wordwrap, truncate, ...).
FILTERS = frozenset(
    (
        *("abs", "bool", "capitalize", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "join"),
        *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select"),
        *("selectattr", "sort", "split", "string", "sum", "title", "tojson", "trim", "unique", "upper", "urlencode", "zip"),
    )
)
TESTS = frozenset(
    (
        *("boolean", "defined", "divisibleby", "endingwith", "eq", "equalto", "even", "false", "float", "ge", "greaterthan", "gt"),
        *("in", "int", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sameas"),
        *("sequence", "startingwith", "string", "true", "undefined", "upper"),
    )
)
LONGEST_SOURCE = 4096
_DEEPEST = 50

_CONSTANTS: Mapping[str, object] = {"true": True, "True": True, "false": False, "False": False, "none": None, "None": None}
_RESERVED = frozenset({"and", "or", "not", "in", "is", "if", "else"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_BINARY: Mapping[str, int] = {"+": 5, "-": 5, "~": 6, "*": 7, "/": 7, "//": 7, "%": 7, "**": 8}


# ---- names -----------------------------------------------------------------------------------------------------------


def unknown_root(name: str) -> str:
    """The sentence for a name that no scope has."""
    near = get_close_matches(name, ROOTS, 1)
    return f"there is no {name!r} here" + (
        f"; did you mean {near[0]}?" if near else "; names begin with parameters, vars, task, item, index, system, error or secret"
    )


def trouble_with_path(path: tuple[str | int, ...]) -> str | None:
    """What is wrong with a reference as it is written, or None."""
    if path[0] == "secret" and (len(path) != 2 or type(path[1]) is not str):
        return "a secret is named by one name: secret.name"
    if path[0] == "secret" and "__" in str(path[1]):
        return "the name of a secret has no two underscores in a row"
    if path[0] != "task":
        return None
    if len(path) == 1 or type(path[1]) is not str:
        return "which task is meant is written out: task.name.result"
    if len(path) > 2 and path[2] not in TASK_FIELDS:
        near = get_close_matches(str(path[2]), TASK_FIELDS, 1)
        said = f"did you mean task.{path[1]}.{near[0]}?" if near else f"write task.{path[1]}.result.{path[2]}"
        return f"a task has {', '.join(TASK_FIELDS)}, no {path[2]!r}; {said}"
    return None


# ---- the parser ------------------------------------------------------------------------------------------------------


def parse(source: str) -> Node:
    """The tree of an expression; raises `ExpressionError` with what is wrong with it."""
    if len(source) > LONGEST_SOURCE:
        raise ExpressionError(source[:60] + "…", f"an expression has at most {LONGEST_SOURCE} characters")
    parser = _Parser(source)
    node = parser.choice()
    parser.done()
    return node


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.at = 0
        self.depth = 0
        self.heights: dict[int, int] = {}
        self.grown_nodes: list[Node] = []  # keeps them alive, so that their ids stay theirs

    # -- reading

    @property
    def now(self) -> str:
        kind, text = self.tokens[self.at]
        return "" if kind in ("string", "number") else text

    def take(self, *texts: str) -> str | None:
        if self.now in texts and self.tokens[self.at] != END:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.wrong(f"{text!r} is missing before {self.tokens[self.at][1] or 'the end'!r}")

    def wrong(self, why: str) -> ExpressionError:
        return ExpressionError(self.source.strip(), why)

    def done(self) -> None:
        kind, text = self.tokens[self.at]
        if (kind, text) != END:
            told = "methods do not run here; use a filter" if text == "(" else f"{text!r} is not expected here"
            raise self.wrong(told)

    def grown(self, node: Node) -> Node:
        height = 1 + max((self.heights.get(id(child), 0) for child in children(node)), default=0)
        if height > _DEEPEST:
            raise self.wrong(f"an expression has at most {_DEEPEST} levels")
        self.heights[id(node)] = height
        self.grown_nodes.append(node)
        return node

    def deeper(self, rule: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.wrong(f"an expression has at most {_DEEPEST} levels")
        node = rule()
        self.depth -= 1
        return node

    # -- from loose to tight

    def choice(self) -> Node:
        node = self.deeper(self.either)
        if self.take("if"):
            condition = self.either()
            node = self.grown(Choice(condition, node, self.deeper(self.choice) if self.take("else") else Literal(None)))
        return node

    def either(self) -> Node:
        node = self.both()
        while self.take("or"):
            node = self.grown(Binary("or", node, self.both()))
        return node

    def both(self) -> Node:
        node = self.negation()
        while self.take("and"):
            node = self.grown(Binary("and", node, self.negation()))
        return node

    def negation(self) -> Node:
        if self.take("not"):
            return self.grown(Unary("not", self.deeper(self.negation)))
        return self.comparison()

    def comparison(self) -> Node:
        left = self.binary(5)
        node: Node | None = None
        while sign := self.comparing():
            right = self.binary(5)
            step = Binary(sign, left, right)
            node, left = (step if node is None else self.grown(Binary("and", node, step))), right
        return left if node is None else node

    def comparing(self) -> str | None:
        if self.now == "not" and self.tokens[self.at + 1] == ("name", "in"):
            self.at += 2
            return "not in"
        return self.take("in", *_COMPARISONS)

    def binary(self, level: int) -> Node:
        node = self.binary(level + 1) if level < 8 else self.unary()
        while (sign := self.now) in _BINARY and _BINARY[sign] == level:
            self.at += 1
            node = self.grown(Binary(sign, node, self.binary(level + 1) if level < 8 else self.unary()))
        return node

    def unary(self) -> Node:
        sign = self.take("-", "+")
        node = self.grown(Unary(sign, self.deeper(self.unary))) if sign else self.postfix(self.atom())
        if sign == "+" and not (isinstance(node, Unary) and isinstance(node.operand, Literal) and type(node.operand.value) in (int, float)):
            raise self.wrong("a plus stands before a number, or between two values")
        if isinstance(node, Unary) and isinstance(node.operand, Literal) and type(node.operand.value) in (int, float):
            node = Literal(-node.operand.value if sign == "-" else node.operand.value)  # type: ignore[operator]
        return self.filtered(node)

    def filtered(self, node: Node) -> Node:
        while mark := self.take("|", "is"):
            negated = mark == "is" and bool(self.take("not"))
            name = self.listed(*(("filter", FILTERS) if mark == "|" else ("test", TESTS)))
            if self.take("("):
                arguments = self.arguments()
            elif mark == "is" and name in ("in", "eq", "ne", "lt", "le", "gt", "ge", "divisibleby", "sameas", "equalto"):
                arguments = ((None, self.postfix(self.atom())),)
            else:
                arguments = ()
            self.check_multiplying(name, arguments)
            node = self.grown(Filter(node, name, arguments) if mark == "|" else Test(node, name, arguments, negated))
        return node

    def check_multiplying(self, name: str, arguments: tuple[tuple[str | None, Node], ...]) -> None:
        # One long default for each of many items would be many copies of it.
        said = {key for key, _ in arguments} | {value.value for _, value in arguments[:1] if isinstance(value, Literal)}
        if name in ("map", "groupby") and not said.isdisjoint({"default", "d"}):
            raise self.wrong(f"{name} takes no default")
        if name == "map" and not said & FILTERS and "attribute" not in said:
            raise self.wrong("map names one of the filters, or an attribute=")

    def listed(self, what: str, names: frozenset[str]) -> str:
        kind, name = self.tokens[self.at]
        if kind != "name" or name not in names:
            near = get_close_matches(name, names, 1)
            raise self.wrong(f"there is no {what} {name!r} here" + (f"; did you mean {near[0]}?" if near else ""))
        self.at += 1
        return name

    def arguments(self) -> tuple[tuple[str | None, Node], ...]:
        found: list[tuple[str | None, Node]] = []
        while not self.take(")"):
            key = None
            if self.tokens[self.at][0] == "name" and self.tokens[self.at + 1] in (("sign", "="),):
                key = self.tokens[self.at][1]
                self.at += 2
            found.append((key, self.choice()))
            if self.now != ")":
                self.expect(",")
        return tuple(found)

    def postfix(self, node: Node) -> Node:
        while mark := self.take(".", "["):
            if mark == ".":
                kind, name = self.tokens[self.at]
                if kind != "name":
                    raise self.wrong(f"after a dot a name is expected, not {name!r}; write [0] for an index")
                self.at += 1
                node = self.below(node, Literal(name))
            else:
                node = self.subscript(node)
        if self.now == "(":
            raise self.wrong("methods do not run here; use a filter")
        return self.checked(node) if isinstance(node, Ref) else node

    def subscript(self, base: Node) -> Node:
        parts: list[Node | None] = [None]
        while not self.take("]"):
            if self.take(":"):
                parts.append(None)
            elif parts[-1] is None:
                parts[-1] = self.choice()
            else:
                self.expect("]")
                break
        if len(parts) > 3 or (len(parts) == 1 and parts[0] is None):
            raise self.wrong("inside [ ] there is one key, or a slice like 0:3")
        if len(parts) == 1 and parts[0] is not None:
            return self.below(base, parts[0])
        return self.grown(Slice(base, (parts[0], parts[1], parts[2] if len(parts) > 2 else None)))

    def below(self, base: Node, key: Node) -> Node:
        if isinstance(base, Ref) and isinstance(key, Literal) and type(key.value) in (str, int):
            return Ref((*base.path, key.value))  # type: ignore[arg-type]
        if isinstance(base, Ref) and base.path[0] == "task" and len(base.path) < 3:
            raise self.wrong("which task is meant, and what of it, is written out: task.name.result")
        return self.grown(Subscript(base, key))

    def checked(self, ref: Ref) -> Ref:
        problem = trouble_with_path(ref.path)
        if problem:
            raise self.wrong(problem)
        return ref

    def atom(self) -> Node:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return Literal(self.number(text))
        if kind == "string":
            return Literal(unescaped(text))
        if kind == "name":
            return self.named(text)
        if text == "(":
            node = self.choice()
            self.expect(")")
            return node
        if text == "[":
            return self.grown(ListOf(self.items("]")))
        if text == "{":
            return self.dictionary()
        self.at -= 1
        raise self.wrong(f"a value is missing before {text!r}" if text else "it ends too early")

    def number(self, text: str) -> int | float:
        digits = text.replace("_", "")
        if len(digits) > 400:
            raise self.wrong("a number has at most 400 digits")
        return int(digits) if digits.isdigit() else float(digits)

    def named(self, name: str) -> Node:
        if name in _CONSTANTS:
            return Literal(_CONSTANTS[name])
        if name in _RESERVED:
            raise self.wrong(f"{name!r} is not expected here")
        if self.take("("):
            return self.call(name)
        root = ROOTS.get(name)
        if root is None:
            raise self.wrong(unknown_root(name))
        return Ref((root,))

    def call(self, name: str) -> Node:
        if name not in FUNCTIONS:
            near = get_close_matches(name, FUNCTIONS, 1)
            raise self.wrong(f"there is no function {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        arguments = self.items(")")
        least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise self.wrong(f"{name} takes {least} argument{'s' if least > 1 else ''}, not {len(arguments)}")
        return self.grown(Call(name, arguments))

    def items(self, close: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self.take(close):
            found.append(self.choice())
            if self.now != close:
                self.expect(",")
        return tuple(found)

    def dictionary(self) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self.take("}"):
            key = self.choice()
            self.expect(":")
            pairs.append((key, self.choice()))
            if self.now != "}":
                self.expect(",")
        return self.grown(DictOf(tuple(pairs)))
