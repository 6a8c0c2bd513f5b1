"""The report's figures, computed directly: in SQL, from the file, without a line of the workflow's code."""

from __future__ import annotations

import csv
import hashlib
import io
import sqlite3
from contextlib import closing
from importlib.resources import files
from typing import Any

FIT = "city <> '' and elevation <> 0 and elevation between -1500 and 16000 and abs(lat) <= 90 and abs(lon) <= 180"

FIGURES = f"""
with fit as (select *, substr(tz, 1, instr(tz, '/') - 1) as region from sample where {FIT}),
ranked as (
  select *,
    row_number() over (partition by region order by elevation) as up,
    row_number() over (partition by region order by elevation desc, icao desc) as down,
    row_number() over (partition by region order by lat desc, icao desc) as north,
    count(*) over (partition by region) as n
  from fit
)
select region, count(*) as airports, count(distinct country) as countries, sum(iata <> '') as with_iata,
  avg(case when up in ((n + 1) / 2, (n + 2) / 2) then elevation end) as median_elevation,
  max(case when down = 1 then name || ' (' || country || ')' end) as highest,
  max(elevation) as highest_elevation,
  max(case when north = 1 then name end) as northernmost
from ranked group by region order by region
"""

LEFT_OUT = f"""
select case when city = '' then 'no city' when elevation = 0 then 'height unknown'
  when elevation not between -1500 and 16000 then 'height impossible' else 'not on this planet' end as reason, count(*) as count
from sample where not ({FIT}) group by reason order by reason
"""


def right_figures(seed: int, size: int = 2000) -> dict[str, Any]:
    """What `airport_report(seed, size)` has to come to: `airports`, `left_out` and the rows of `figures` less their dots."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        database.create_function("sha", 1, lambda text: hashlib.sha256(text.encode()).digest(), deterministic=True)
        _fill(database, seed, size)
        figures = [dict(row) for row in database.execute(FIGURES)]
        left_out = {row["reason"]: row["count"] for row in database.execute(LEFT_OUT)}
    return {"airports": sum(row["airports"] for row in figures), "left_out": left_out, "figures": figures}


def _fill(database: sqlite3.Connection, seed: int, size: int) -> None:
    columns = "icao, iata, name, city, country, elevation real, lat real, lon real, tz"
    database.execute(f"create table airport ({columns})")
    names = [column.split()[0] for column in columns.split(", ")]
    text = files("airportsdata").joinpath("airports.csv").read_text(encoding="utf-8")
    rows = [tuple(row[name] for name in names) for row in csv.DictReader(io.StringIO(text))]
    database.executemany(f"insert into airport values ({', '.join('?' * len(names))})", rows)
    database.execute("create temp table sample as select * from airport order by sha(? || ':' || icao) limit ?", (seed, size))
