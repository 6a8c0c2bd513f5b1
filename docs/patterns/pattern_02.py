"""Parallel split."""

from wfcelery import step, workflow


@step(name="press.edit")
def edit(title: str) -> str:
    return title.title()


@step(name="press.to_paper")
def to_paper(text: str) -> str:
    return f"{text} on paper"


@step(name="press.to_web")
def to_web(text: str) -> str:
    return f"{text} on the web"


@workflow(name="publish_article")
def pattern(title: str) -> list[str]:
    edited = edit(title)
    return [to_paper(edited), to_web(edited)]
