"""Loops without an end, through a real worker: the page's own YAML and its Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.shell import ShellError
from tests.promises.conftest import Here

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "loops-without-an-end.md"
IMPORTS = "from wfcelery import after, continue_as_new, sleep, step, when, workflow\n"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def published(here: Here) -> None:
    here.publish(block("yaml").replace("feed.fetch", "$app.advance"))


def test_the_yaml_and_the_python_of_the_page_have_one_signature(here: Here) -> None:
    look = "from wfcelery.authoring.yaml import load_yaml\nfrom wfcelery.definition.model import signature\n"
    file = here.folder / "page.py"  # the source of a workflow is looked at
    file.write_text(IMPORTS + block("python"))
    twin = f"import importlib.util\nspec = importlib.util.spec_from_file_location('page', {str(file)!r})\n"
    twin += "page = importlib.util.module_from_spec(spec)\nimport sys\nsys.modules['page'] = page\nspec.loader.exec_module(page)\n"
    assert here.shell(f"{look}{twin}signature(page.poll.definition) == signature(load_yaml({block('yaml')!r}))") is True


def test_a_loop_goes_on_as_one_run_after_the_other_and_is_found_by_its_key(here: Here) -> None:
    published(here)
    first = here.shell("start_workflow('poll', {'until': 6}, key='poller').id")
    assert here.shell(f"from wfcelery import get_run\nget_run({first!r}).result(timeout=20)") == 6
    rows = here.query("select status, key, active_key from wf_run where workflow = 'poll' order by id")
    assert rows == [("succeeded", "poller", None)] * 5 + [("succeeded", "poller", "poller")]
    newest = here.shell("get_run('poller').id")
    assert newest != first
    assert here.shell("start_workflow('poll', {'until': 6}, key='poller').id") == newest, "the same key and input: the run that goes on"
    with pytest.raises(ShellError, match="KeyConflict"):
        here.shell("start_workflow('poll', {'until': 7}, key='poller').id")
    here.run("runs", "verify", "--all")


def test_who_cancels_a_loop_by_its_key_ends_it(here: Here) -> None:
    published(here)
    here.shell("start_workflow('poll', {}, key='for ever').id")
    rows = "select count(*) from wf_run where workflow = 'poll' and key = 'for ever'"
    eventually(lambda: here.query(rows)[0][0] >= 5, what="it goes on")
    here.shell("get_run('for ever').cancel('enough')")
    open_runs = "select count(*) from wf_run where key = 'for ever' and ended_at is null"
    eventually(lambda: here.query(open_runs) == [(0,)], what="it has ended")
    assert here.shell("get_run('for ever').status()") == "cancelled"
    assert here.query("select count(*) from wf_run where key = 'for ever' and status = 'cancelled'") == [(1,)]
