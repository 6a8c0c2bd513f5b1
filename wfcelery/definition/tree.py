"""The tree of an expression: data, and operations that are known. Whatever is not here cannot be said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    value: object


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference whose whole path is written out; `path[0]` is a root."""

    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Subscript:
    base: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Slice:
    base: Node
    parts: tuple[Node | None, Node | None, Node | None]


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class DictOf:
    pairs: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Unary:
    sign: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Filter:
    operand: Node
    name: str
    arguments: tuple[tuple[str | None, Node], ...]


@dataclass(frozen=True, slots=True)
class Test:
    operand: Node
    name: str
    arguments: tuple[tuple[str | None, Node], ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Choice:
    condition: Node
    then: Node
    other: Node


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


Node = Literal | Ref | Subscript | Slice | ListOf | DictOf | Unary | Binary | Filter | Test | Choice | Call


def children(node: Node) -> tuple[Node, ...]:
    """What a node is made of."""
    match node:
        case Literal() | Ref():
            return ()
        case Subscript(base, key):
            return (base, key)
        case Slice(base, parts):
            return (base, *(part for part in parts if part is not None))
        case ListOf(items):
            return items
        case DictOf(pairs):
            return tuple(node for pair in pairs for node in pair)
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Filter(operand, _, arguments) | Test(operand, _, arguments):
            return (operand, *(argument for _, argument in arguments))
        case Choice(condition, then, other):
            return (condition, then, other)
        case Call(_, arguments):
            return arguments


def walk_tree(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(children(node))
