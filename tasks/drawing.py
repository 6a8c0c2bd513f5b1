"""A map of the world as SVG, drawn by its dots alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEGEND = 1080, 540, 200
# Ten colours that people who see fewer colours can still tell apart on a dark ground.
COLOURS = ("#f0e442", "#56b4e9", "#ffffff", "#b8e0ff", "#e69f00", "#999999", "#d55e00", "#00c596", "#cc79a7", "#6f8cff")


def place(lat: float, lon: float) -> tuple[int, int]:
    """Where a point of the Earth lies on the map: longitude to the right, latitude upwards, a third of a degree a pixel."""
    return round((lon + 180) * WIDTH / 360), round((90 - lat) * HEIGHT / 180)


def world(title: str, regions: Mapping[str, Sequence[Sequence[int]]]) -> str:
    """One colour a region, one dot a place, and how many there are of each."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEGEND} {HEIGHT + 40}" font-family="sans-serif" font-size="14">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH + LEGEND}" height="{HEIGHT + 40}" fill="#10202f"/>',
        f'<path d="{_grid()}" stroke="#24405a" fill="none"/>',
    ]
    coloured = [(name, regions[name], COLOURS[number % len(COLOURS)]) for number, name in enumerate(sorted(regions))]
    for _, places, colour in coloured:
        lines.append(f'<path d="{_dots(places)}" stroke="{colour}" stroke-width="3" stroke-linecap="round"/>')
    lines += _legend([(name, len(places), colour) for name, places, colour in coloured])
    lines.append(f'<text x="12" y="{HEIGHT + 26}" fill="#dde6ee">{escape(title)}</text>')
    return "\n".join([*lines, "</svg>"])


def _dots(places: Iterable[Sequence[int]]) -> str:
    """A line of no length with round ends is a dot; places that fall together are drawn once."""
    return "".join(f"M{x} {y}h0" for x, y in sorted({(x, y) for x, y in places}))


def _grid() -> str:
    meridians = (f"M{x} 0v{HEIGHT}" for x in range(0, WIDTH + 1, WIDTH // 12))
    parallels = (f"M0 {y}h{WIDTH}" for y in range(0, HEIGHT + 1, HEIGHT // 6))
    return "".join([*meridians, *parallels])


def _legend(entries: Sequence[tuple[str, int, str]]) -> list[str]:
    most = max((count for _, count, _ in entries), default=1)
    lines = []
    for number, (name, count, colour) in enumerate(sorted(entries, key=lambda entry: -entry[1])):
        y = 28 + number * 44
        lines.append(f'<text x="{WIDTH + 16}" y="{y}" fill="#dde6ee">{escape(name)} {count:,}</text>')
        lines.append(f'<rect x="{WIDTH + 16}" y="{y + 6}" width="{max(2, round(168 * count / most))}" height="8" fill="{colour}"/>')
    return lines
