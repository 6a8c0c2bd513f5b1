"""What people type to say which runs, or dead letters, they mean: `status=failed workflow=order error.type=Timeout created>2h`.

All terms must be true. A value may be several, with commas between them, and quoted; a `*` at its end stands for anything. A
time is an age (`created>2h`: longer ago than that) or a date (`created<2026-11-01`: before it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal, cast

from wfcelery.core.states import RunStatus
from wfcelery.definition.findings import did_you_mean
from wfcelery.definition.spans import seconds, shortly
from wfcelery.errors import InvalidInput, InvalidSpan
from wfcelery.service.asked import text_fault
from wfcelery.store.matching import LETTER_FIELDS, LETTER_TIMES, RUN_FIELDS, RUN_TIMES, Term

LONGEST = 4_000  # characters
MOST_TERMS = 50
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s,"']+)"""
_TERM = re.compile(rf"\s*([\w.]+)\s*(!=|=|<|>)\s*({_VALUE}(?:,{_VALUE})*)(?=\s|$)")
_ONE_VALUE = re.compile(_VALUE)
_LETTERS = ("open", "handled", "retried")


def of_runs(query: str) -> list[Term]:
    """The terms of a query about runs. Raises InvalidInput with everything that is wrong with it."""
    return _parsed(query, RUN_FIELDS, tuple(RUN_TIMES), [str(status) for status in RunStatus])


def of_letters(query: str) -> list[Term]:
    """The terms of a query about dead letters. Raises as `of_runs`."""
    return _parsed(query, LETTER_FIELDS, tuple(LETTER_TIMES), _LETTERS)


def _parsed(query: str, fields: Sequence[str], times: Sequence[str], statuses: Sequence[str]) -> list[Term]:
    fault = text_fault(query, LONGEST)
    if fault is not None:
        raise InvalidInput("where", [("where", fault)])
    terms: list[Term] = []
    wrong: list[tuple[str, str]] = []
    at = 0
    while query[at:].strip():
        found = _TERM.match(query, at)
        if found is None:
            wrong.append((shortly(query[at:].strip()), "write it as field=value, field!=value, field<value or field>value"))
            break
        at = found.end()
        field, op, text = found[1], cast(Literal["=", "!=", "<", ">"], found[2]), found[3]
        values = tuple(value[1:-1] if value[0] in "\"'" else value for value in _ONE_VALUE.findall(text))
        if field not in fields:
            wrong.append((field, f"there is no such field{did_you_mean(get_close_matches(field, fields, 1))}: {', '.join(fields)}"))
        elif field in times:
            _add_time(terms, wrong, field, op, values)
        elif op not in ("=", "!="):
            wrong.append((field, f"it can be = or != a value, not {op}"))
        elif field == "status" and not set(values) <= set(statuses):
            wrong.append((field, f"it is one of {', '.join(statuses)}"))
        else:
            terms.append(Term(field, op, values))
    if len(terms) > MOST_TERMS:
        wrong.append(("where", f"it has {len(terms)} terms, more than {MOST_TERMS}"))
    if not terms and not wrong:
        wrong.append(("where", "it is empty: say which are meant, such as status=failed"))
    if wrong:
        raise InvalidInput("where", wrong)
    return terms


def _add_time(
    terms: list[Term], wrong: list[tuple[str, str]], field: str, op: Literal["=", "!=", "<", ">"], values: tuple[str, ...]
) -> None:
    """A span is an age, anything else a date."""
    if op not in ("<", ">") or len(values) != 1:
        wrong.append((field, "it can be < or > an age, such as 2h, or a date"))
        return
    try:
        terms.append(Term(field, op, age=seconds(values[0])))
        return
    except InvalidSpan:
        pass
    try:
        moment = datetime.fromisoformat(values[0])
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        terms.append(Term(field, op, moment=moment))
    except (ValueError, OverflowError):
        wrong.append((field, f"{shortly(values[0])} is neither an age, such as 2h, nor a date, such as 2026-11-01"))
