"""A report on the world's airports: read, validate, figures for each region at the same time, a picture and a table.

The data is the file that the package `airportsdata` ships: 28,000 airports and landing strips, most of them real
enough to land on. `seed` and `size` choose the sample; `pace` is how many seconds each step lingers, for those who
want to watch, or to kill something in the middle.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
from importlib.metadata import version
from importlib.resources import files
from statistics import median

from pydantic import BaseModel

from tasks import drawing
from wfcelery import step, workflow


class Airport(BaseModel):
    icao: str
    iata: str
    name: str
    city: str
    country: str
    elevation: float
    lat: float
    lon: float
    tz: str


class Region(BaseModel):
    """The airports whose time zones begin with one word: Africa, America, Pacific …"""

    name: str
    airports: list[Airport]


class Checked(BaseModel):
    """What is fit for the report, and why the rest is not."""

    regions: list[Region]
    left_out: dict[str, int]


class Figures(BaseModel):
    region: str
    airports: int
    countries: int
    with_iata: int
    median_elevation: float
    highest: str
    highest_elevation: float
    northernmost: str
    places: list[tuple[int, int]]


class Report(BaseModel):
    title: str
    airports: int
    left_out: dict[str, int]
    figures: list[Figures]
    table: str
    picture: str


@step
def read(seed: int, size: int, pace: float) -> list[Airport]:
    """A sample that is the same for the same seed, whatever the order of the file."""
    time.sleep(pace)
    text = files("airportsdata").joinpath("airports.csv").read_text(encoding="utf-8")
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: hashlib.sha256(f"{seed}:{row['icao']}".encode()).digest())
    return [Airport.model_validate(row) for row in rows[:size]]


@step
def validate(airports: list[Airport], pace: float) -> Checked:
    """Leave out what cannot be placed or compared, and count why."""
    time.sleep(pace)
    regions: dict[str, list[Airport]] = {}
    left_out: dict[str, int] = {}
    for airport in airports:
        problem = _problem(airport)
        if problem is None:
            regions.setdefault(airport.tz.split("/")[0], []).append(airport)
        else:
            left_out[problem] = left_out.get(problem, 0) + 1
    ordered = [Region(name=name, airports=regions[name]) for name in sorted(regions)]
    return Checked(regions=ordered, left_out=dict(sorted(left_out.items())))


@step
def summarise(region: Region, pace: float) -> Figures:
    time.sleep(pace)
    airports = region.airports
    highest = max(airports, key=lambda airport: (airport.elevation, airport.icao))
    return Figures(
        region=region.name,
        airports=len(airports),
        countries=len({airport.country for airport in airports}),
        with_iata=sum(bool(airport.iata) for airport in airports),
        median_elevation=median(airport.elevation for airport in airports),
        highest=f"{highest.name} ({highest.country})",
        highest_elevation=highest.elevation,
        northernmost=max(airports, key=lambda airport: (airport.lat, airport.icao)).name,
        places=[drawing.place(airport.lat, airport.lon) for airport in airports],
    )


@step
def draw(figures: list[Figures], title: str, pace: float) -> str:
    """A map with a dot for each airport, as SVG."""
    time.sleep(pace)
    return drawing.world(title, {figure.region: figure.places for figure in figures})


@step
def tabulate(figures: list[Figures], left_out: dict[str, int], pace: float) -> str:
    """The figures as a Markdown table."""
    time.sleep(pace)
    lines = ["| region | airports | countries | with IATA code | median height | highest |", "|---|--:|--:|--:|--:|---|"]
    for figure in sorted(figures, key=lambda figure: -figure.airports):
        counts = f"{figure.airports} | {figure.countries} | {figure.with_iata}"
        top = f"{figure.highest.replace('|', '/')}, {_metres(figure.highest_elevation)}"
        lines.append(f"| {figure.region} | {counts} | {_metres(figure.median_elevation)} | {top} |")
    lines += [""] + [f"Left out, {reason}: {count}" for reason, count in left_out.items()]
    return "\n".join(lines).rstrip()


@step
def assemble(title: str, left_out: dict[str, int], figures: list[Figures], picture: str, table: str) -> Report:
    airports = sum(figure.airports for figure in figures)
    return Report(title=title, airports=airports, left_out=left_out, figures=figures, table=table, picture=picture)


@step
def heading(seed: int) -> str:
    return f"Airports of the world, airportsdata {version('airportsdata')}, sample {seed}"


@workflow(version="1")
def airport_report(seed: int = 0, size: int = 2000, pace: float = 0.0) -> Report:
    checked = validate(read(seed, size, pace), pace)
    figures = summarise.options(concurrency=4).map(checked.regions, pace=pace)
    title = heading(seed)
    picture = draw(figures, title, pace)
    table = tabulate(figures, checked.left_out, pace)
    return assemble(title, checked.left_out, figures, picture, table)


def _problem(airport: Airport) -> str | None:
    if not airport.city:
        return "no city"
    if airport.elevation == 0:
        return "height unknown"
    if not (-1_500 <= airport.elevation <= 16_000):
        return "height impossible"
    if not (-90 <= airport.lat <= 90 and -180 <= airport.lon <= 180):
        return "not on this planet"
    return None


def _metres(feet: float) -> str:
    return f"{round(feet * 0.3048):,} m"
