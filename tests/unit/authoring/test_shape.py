"""Values in and out of stored form, as annotations say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, computed_field

from wfcelery import AuthoringError, Failed, InvalidInput, StepError, adopt, step, workflow
from wfcelery.definition.values import dumps, encode, loads
from wfcelery.errors import CannotBind, CannotCarry


class Colour(Enum):
    RED = "red"


class Parcel(BaseModel):
    code: str
    weight: Decimal
    colour: Colour = Colour.RED
    wait: timedelta = timedelta(0)


@dataclass
class Letter:
    number: int
    at: datetime


class Sealed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    pair: tuple[int, str]
    colour: Colour

    @computed_field  # type: ignore[prop-decorator]
    @property
    def first(self) -> int:
        return self.pair[0]


def through_the_database(stored: Any) -> Any:
    return loads(dumps(stored))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 3),
        (Decimal, Decimal("9.50")),
        (datetime, datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (timedelta, timedelta(seconds=90)),
        (UUID, UUID(int=7)),
        (bytes, b"\xff\x00"),
        (Path, Path("/tmp/x")),
        (Colour, Colour.RED),
        (Letter, Letter(1, datetime(2030, 1, 2, tzinfo=UTC))),
        (Parcel, Parcel(code="a", weight=Decimal("1.5"), wait=timedelta(seconds=3))),
        (Sealed, Sealed(pair=(1, "a"), colour=Colour.RED)),
        (set[int], {1, 2}),
        (tuple[int, str], (1, "a")),
        (dict[int, Parcel], {3: Parcel(code="a", weight=Decimal(1))}),
        (list[Parcel | Failed], [Parcel(code="a", weight=Decimal(1)), Failed(1, "x", StepError("ValueError", None, "no"))]),
        (Letter | Parcel | None, None),
    ],
)
def test_what_a_step_returns_is_what_the_next_one_gets(hint: Any, value: Any) -> None:
    def giving() -> Any: ...
    def taking(value: Any) -> None: ...

    giving.__annotations__["return"] = hint
    taking.__annotations__["value"] = hint
    giver, taker = step(giving), step(taking)

    args, kwargs = taker.spec.bind({"value": through_the_database(giver.spec.carry(value))})

    assert (args, kwargs) == ((), {"value": value})
    assert giver.spec.shape.read_result(through_the_database(giver.spec.carry(value))) == value


def test_a_decimal_inside_a_model_stays_exact() -> None:
    @step
    def weigh() -> Parcel: ...  # type: ignore[empty-body]

    assert weigh.spec.carry(Parcel(code="a", weight=Decimal("9.50")))["weight"] == {"$wf": ["decimal", "9.50"]}


def test_without_annotations_values_keep_what_can_be_tagged() -> None:
    @step
    def plain(value):  # type: ignore[no-untyped-def]
        return value

    value = {"at": datetime(2030, 1, 2, tzinfo=UTC), "of": [Decimal("1.0"), UUID(int=1), b"x", None]}

    assert plain.spec.bind({"value": through_the_database(plain.spec.carry(value))}) == ((), {"value": value})


def test_a_result_that_cannot_be_carried_names_its_path_and_type() -> None:
    @step
    def free():  # type: ignore[no-untyped-def]
        ...

    @step
    def promised() -> list[Parcel]: ...  # type: ignore[empty-body]

    with pytest.raises(CannotCarry) as caught:
        free.spec.carry({"rows": [1, object()]})
    assert (caught.value.path, caught.value.type, caught.value.code) == ("rows[1]", "object", "bad_result")
    with pytest.raises(CannotCarry) as caught:
        promised.spec.carry([{"code": "a", "weight": "much"}])
    assert (caught.value.path, caught.value.type) == ("[0].weight", "str")


def test_no_error_about_a_value_holds_the_value() -> None:
    @step
    def strict(number: int) -> int:
        return number

    with pytest.raises(CannotBind) as bound:
        strict.spec.bind({"number": "secret"})
    with pytest.raises(CannotCarry) as carried:
        strict.spec.carry("secret")

    assert "secret" not in str(bound.value) + str(carried.value)


def test_arguments_that_no_longer_fit_the_code_say_how() -> None:
    @step
    def changed(order_id: int, *, size: str = "A6") -> None: ...

    for stored, sentence in (
        ({"order": 1}, "missing a required argument: 'order_id'"),
        ({"order_id": 1, "colour": "red"}, "unexpected keyword argument 'colour'"),
        ({"order_id": "x"}, "order_id: Input should be a valid integer"),
    ):
        with pytest.raises(CannotBind) as caught:
            changed.spec.bind(stored)
        assert sentence in str(caught.value)


def test_positional_only_and_starred_parameters_are_called_as_they_were() -> None:
    @step
    def odd(first: int, /, second: int, *rest: int, key: int = 0, **more: int) -> None: ...

    named = odd.spec.shape.named((1, 2, 3, 4), {"key": 5, "extra": 6})

    assert named == {"first": 1, "second": 2, "*": [3, 4], "key": 5, "extra": 6}
    assert odd.spec.bind(encode(named)) == ((1, 2, 3, 4), {"key": 5, "extra": 6})
    assert odd.spec.bind({"first": 1, "second": 2}) == ((1,), {"second": 2})


def test_an_adopted_task_gets_what_it_was_given() -> None:
    old = adopt("shop.tasks.old")

    assert old.spec.bind({"*": [1, {"$wf": ["decimal", "2.5"]}], "key": "x"}) == ((1, Decimal("2.5")), {"key": "x"})


def test_an_annotation_that_cannot_be_carried_is_told_when_it_is_needed() -> None:
    class Connection: ...

    @step
    def broken(connection: Connection) -> None: ...

    with pytest.raises(AuthoringError, match="connection is annotated Connection, which pydantic cannot carry"):
        broken.spec.bind({"connection": 1})


def test_an_input_is_validated_and_everything_wrong_with_it_is_told() -> None:
    @workflow
    def wanted(parcel: Parcel, size: str = "A6", *, count: int) -> None: ...

    assert wanted.validate_input({"parcel": {"code": "a", "weight": "1.5"}, "count": 2}) == {
        "parcel": {"code": "a", "weight": {"$wf": ["decimal", "1.5"]}, "colour": "red", "wait": "PT0S"},
        "size": "A6",
        "count": 2,
    }
    with pytest.raises(InvalidInput) as caught:
        wanted.validate_input({"parcel": {"weight": "much"}, "sice": "A5"})
    assert caught.value.errors == (
        ("sice", "there is no such parameter; did you mean size?"),
        ("parcel.code", "Field required"),
        ("parcel.weight", "Input should be a valid decimal"),
        ("count", "it is missing"),
    )


def test_the_parameters_of_a_definition_say_what_is_wanted() -> None:
    @workflow
    def wanted_too(parcel: Parcel, size: str = "A6") -> None: ...

    parameters = wanted_too.definition.parameters

    assert (parameters["parcel"].required, parameters["parcel"].type) == (True, "object")
    assert parameters["parcel"].json_schema["allOf"] == [{"required": ["code", "weight"]}]
    assert (parameters["size"].required, parameters["size"].default, parameters["size"].type) == (False, "A6", "string")


def test_a_workflow_makes_its_key_of_its_input() -> None:
    @workflow(key="parcel-{{ parameters.parcel.code }}-{{ parameters.count }}")
    def keyed(parcel: Parcel, count: int = 1) -> None: ...

    assert keyed.bind(Parcel(code="a", weight=Decimal(1))).key == "parcel-a-1"
