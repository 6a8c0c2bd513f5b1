"""Secrets as authors write them, in both spellings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.authoring.shop import Order
from wfcelery import AuthoringError, secret, step, text, workflow
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import signature
from wfcelery.definition.problems import problems

PAGE = Path(__file__).parents[3] / "docs/how-to/secrets-and-encryption.md"


@step(name="shop.charge")
def pay(order_id: int, token: str) -> str:
    return f"{order_id} {token}"


@workflow(name="paid", version="1")
def paid(order: Order) -> str:
    return pay(order.id, token=secret("stripe"))


def test_the_two_spellings_of_the_page_are_one_definition() -> None:
    [written] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert signature(load_yaml(written.replace("name: paid\n", 'name: paid\nversion: "1"\n'))) == signature(paid.definition)
    assert not problems(paid.definition)


@pytest.mark.parametrize("name", ["", "a__b", "_a", "a-b", "a.b", "é", 7])
def test_a_name_that_is_none_is_refused_where_it_is_written(name: str) -> None:
    @workflow
    def wrong(order: Order) -> str:
        return pay(order.id, secret(name))

    with pytest.raises(AuthoringError, match="letters and digits"):
        _ = wrong.definition


def test_a_secret_that_is_made_a_part_of_a_text_is_a_problem() -> None:
    @workflow
    def wrong(order: Order) -> str:
        return pay(order.id, text("Bearer {}", secret("stripe")))

    assert any("a secret is a whole value" in str(each) for each in problems(wrong.definition))


def test_a_secret_means_nothing_outside_a_workflow() -> None:
    with pytest.raises(AuthoringError, match="only inside a @workflow"):
        secret("stripe")
