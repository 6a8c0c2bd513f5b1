"""The words of an expression, and where an expression ends in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wfcelery.errors import ExpressionError

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<sign>\*\*|//|==|!=|<=|>=|[-+*/%~<>=()\[\]{},:.|])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
END = ("end", "")


def end_of_expression(text: str, start: int) -> int:
    """Where the `}}` is that ends the expression which begins at `start`; -1 where there is none."""
    depth, at = 0, start
    while at < len(text):
        if depth == 0 and (close := re.match(r"\s*\}\}", text[at : at + 200])):
            return at + close.end() - 2
        token = _TOKEN.match(text, at)
        if token is None:
            return text.find("}}", at)
        sign = token["sign"]
        depth += 1 if sign == "{" else -1 if sign == "}" else 0
        at = token.end()
    return -1


def tokens(source: str) -> list[tuple[str, str]]:
    """(kind, text) of each word: number, name, string or sign; `END` is the last."""
    found, at, end = [], 0, len(source.rstrip())
    while at < end:
        token = _TOKEN.match(source, at)
        if token is None:
            raise ExpressionError(source, f"{source[at:].strip()[:1]!r} has no meaning here")
        found.append((token.lastgroup or "", token[token.lastgroup or 0]))
        at = token.end()
    return [*found, END]


def unescaped(text: str) -> str:
    """What a quoted string says."""

    def one(escape: re.Match[str]) -> str:
        code = escape[1] or escape[2]
        return chr(int(code, 16)) if code else _ESCAPED.get(escape[3], escape[3])

    if "\\" not in text:
        return text[1:-1]
    # JSON writes what is beyond 16 bits as two escapes.
    return _ESCAPE.sub(one, text[1:-1]).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def dotted(path: Iterable[str | int]) -> str:
    """A path as it is written."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text and part.isidentifier() else f"[{part!r}]" if text else part
    return text
