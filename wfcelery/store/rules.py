"""What a status means, held by the database itself on every write: CHECKs, and on PostgreSQL a trigger in their place.

PostgreSQL reads the text of every CHECK anew for each statement that writes to a table. For the runs and the steps that
was a third of what a step's commit cost the server; a trigger's function it reads once in a connection's life. An
error is the same either way: a check violation, with the name of the rule.
"""

from __future__ import annotations

import re

import sqlalchemy as sa

_GROWS = {"version"}  # who writes nothing but the next one breaks no rule, and is not asked


def held_by_a_trigger(table: sa.Table) -> None:
    """Hold the CHECKs of a table by a trigger where that is PostgreSQL's."""
    rules = sorted((rule for rule in table.constraints if isinstance(rule, sa.CheckConstraint)), key=lambda rule: str(rule.name))
    for rule in rules:
        rule.ddl_if(dialect="sqlite")
    text = trigger(table.name, [column.name for column in table.columns], {str(rule.name): str(rule.sqltext) for rule in rules})
    for statement in text:
        sa.event.listen(table, "after_create", sa.DDL(statement.replace("%", "%%")).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]


def trigger(table: str, columns: list[str], rules: dict[str, str]) -> tuple[str, str]:
    """The function that raises for the first rule that a row breaks, and the trigger that calls it."""
    names = re.compile(rf"\b({'|'.join(columns)})\b(?!')")
    of_new = {name: names.sub(r"new.\1", rule) for name, rule in rules.items()}
    sound = "\n    and ".join(f"({rule})" for rule in of_new.values())
    refusals = "\n".join(
        f"  if not ({rule}) then\n    raise check_violation using message = 'a row of {table} breaks {name}', "
        f"table = '{table}', constraint = '{name}';\n  end if;"
        for name, rule in of_new.items()
    )
    function = (
        f"create or replace function {table}_rules() returns trigger language plpgsql as $rules$\nbegin\n"
        f"  if {sound} then\n    return new;\n  end if;\n{refusals}\n  return new;  -- what is null breaks no rule\nend\n$rules$"
    )
    named = [name for name in columns if name not in _GROWS and any(re.search(rf"\b{name}\b(?!')", rule) for rule in rules.values())]
    call = (
        f"create trigger {table}_rules before insert or update of {', '.join(named)} on {table} "
        f"for each row execute function {table}_rules()"
    )
    return function, call
