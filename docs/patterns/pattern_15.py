"""Multiple instances without a priori run-time knowledge."""

from wfcelery import add_items, current_step, step, workflow

LINKS = {"home": ["news", "shop"], "shop": ["books"], "books": ["novels", "maps"]}


@step(name="crawler.visit")
def visit(page: str) -> str:
    this = current_step()
    if this.run_id is not None and page in LINKS:
        add_items(this.run_id, "visit", LINKS[page])
    return page


@workflow(name="crawl")
def pattern(start: str) -> list[str]:
    return visit.options(concurrency=2).map([start])
