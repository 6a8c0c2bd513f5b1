"""Dynamic partial join for multiple instances."""

from wfcelery import add_items, current_step, step, workflow

KNOWS = {"Ada": ["Ben", "Cleo"], "Ben": ["Dora", "Emil"]}


@step(name="court.hear")
def hear(witness: str) -> str | None:
    this = current_step()
    if this.run_id is not None and witness in KNOWS:
        add_items(this.run_id, "hear", KNOWS[witness])
    return f"{witness} has spoken"


@step(name="court.judge")
def judge(statements: list[str | None]) -> list[str]:
    return [each for each in statements if each is not None]


@workflow(name="hearing")
def pattern(witness: str) -> list[str]:
    return judge(hear.options(concurrency=1, success=3, cancel_rest=True).map([witness]))
