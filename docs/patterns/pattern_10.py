"""Arbitrary cycles."""

from dataclasses import dataclass

from wfcelery import step, when, workflow


@dataclass
class Review:
    paper: str
    back_to: str


@step(name="press.draft")
def draft(paper: str) -> str:
    return paper


@step(name="press.review")
def review(paper: str, from_step: str) -> Review:
    paper = f"{paper}, {from_step}"
    return Review(paper, {"draft": "review", "review": "check", "check": ""}[from_step])


@step(name="press.finish")
def finish(paper: str) -> str:
    return f"{paper}: done"


@workflow(name="review_paper")
def pattern(paper: str, from_step: str) -> str:
    with when(from_step == "draft"):
        drafted = draft(paper)
    found = review.options(after=drafted)(paper, from_step)
    with when(found.back_to != ""):
        again = pattern.options(name="again")(found.paper, found.back_to)
    return finish.options(after=again)(found.paper)
