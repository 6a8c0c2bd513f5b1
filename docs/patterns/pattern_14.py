"""Multiple instances with a priori run-time knowledge."""

from wfcelery import step, workflow


@step(name="warehouse.lines_of")
def lines_of(order: int) -> list[str]:
    return [f"{order}-{number}" for number in range(order)]


@step(name="warehouse.inspect")
def inspect(line: str) -> str:
    return f"{line} is sound"


@step(name="warehouse.report")
def report(found: list[str]) -> str:
    return ", ".join(found)


@workflow(name="inspect_order")
def pattern(order: int) -> str:
    return report(inspect.map(lines_of(order)))
