"""Multiple instances with a priori design-time knowledge."""

from wfcelery import step, workflow


@step(name="jury.vote")
def vote(juror: str, case: str) -> str:
    return f"{juror} on {case}"


@workflow(name="ask_the_jury")
def pattern(case: str) -> list[str]:
    return vote.map(["Ada", "Bob", "Cyd"], case=case)
