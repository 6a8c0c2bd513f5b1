"""The steps of the airport report as plain functions, and their figures beside a direct computation."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tasks import drawing, report
from tasks.report_check import right_figures


def airport(**changes: object) -> report.Airport:
    given: dict[str, object] = {
        "icao": "ENSB",
        "iata": "LYR",
        "name": "Svalbard",
        "city": "Longyearbyen",
        "country": "NO",
        "elevation": 88,
        "lat": 78.2461,
        "lon": 15.4656,
        "tz": "Arctic/Longyearbyen",
    }
    return report.Airport.model_validate(given | changes)


def the_whole_report(seed: int, size: int) -> report.Report:
    checked = report.validate.fn(report.read.fn(seed, size, 0.0), 0.0)
    figures = [report.summarise.fn(region, 0.0) for region in checked.regions]
    title = report.heading.fn(seed)
    table = report.tabulate.fn(figures, checked.left_out, 0.0)
    return report.assemble.fn(title, checked.left_out, figures, report.draw.fn(figures, title, 0.0), table)


@pytest.mark.parametrize(("seed", "size"), [(0, 2000), (7, 2000), (3, 50), (0, 40_000)])
def test_the_figures_are_those_of_a_direct_computation(seed: int, size: int) -> None:
    made = the_whole_report(seed, size)

    right = right_figures(seed, size)
    assert made.airports == right["airports"]
    assert made.left_out == right["left_out"]
    assert [figures.model_dump(exclude={"places"}) for figures in made.figures] == right["figures"]


def test_another_seed_gives_other_data_and_other_figures() -> None:
    assert the_whole_report(0, 300).figures != the_whole_report(1, 300).figures
    assert right_figures(0, 300)["figures"] != right_figures(1, 300)["figures"]


def test_the_same_seed_gives_the_same_report() -> None:
    assert the_whole_report(5, 300) == the_whole_report(5, 300)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"city": ""}, "no city"),
        ({"elevation": 0}, "height unknown"),
        ({"elevation": 29_000}, "height impossible"),
        ({"lat": 91.0}, "not on this planet"),
    ],
)
def test_what_is_not_fit_for_the_report_is_left_out_and_counted(change: dict[str, object], reason: str) -> None:
    checked = report.validate.fn([airport(), airport(icao="ENXX", **change)], 0.0)

    assert [[fit.icao for fit in region.airports] for region in checked.regions] == [["ENSB"]]
    assert checked.left_out == {reason: 1}


def test_the_picture_has_a_dot_for_each_place_and_a_legend_for_each_region() -> None:
    picture = drawing.world("a <b> & c", {"Europe": [(10, 20), (10, 20), (11, 20)], "Asia": [(700, 200)]})

    drawn = ElementTree.fromstring(picture)  # noqa: S314 - our own
    said = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert said == ["Europe 3", "Asia 1", "a <b> & c"]
    assert "M10 20h0M11 20h0" in picture
    assert "M700 200h0" in picture


@pytest.mark.parametrize(
    ("lat", "lon", "where"), [(90, -180, (0, 0)), (0, 0, (540, 270)), (-90, 180, (1080, 540))], ids=["corner", "middle", "end"]
)
def test_a_place_on_the_earth_has_its_place_on_the_map(lat: float, lon: float, where: tuple[int, int]) -> None:
    assert drawing.place(lat, lon) == where


def test_the_table_names_the_largest_region_first_and_what_was_left_out() -> None:
    first, *_ = the_whole_report(0, 500).table.splitlines()[2:]

    assert first.startswith("| America | ")
    assert the_whole_report(0, 500).table.splitlines()[-1].startswith("Left out, ")
