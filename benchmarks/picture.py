"""How many times as fast as raw Celery, drawn: an SVG that is readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 760, 190, 70
TOP, BAR, GAP, BETWEEN = 64, 16, 4, 18
TIMES = " \N{MULTIPLICATION SIGN}"
FACTORS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)

_STYLE = """
  .page { fill: #ffffff; } text { fill: #1f2328; font: 13px system-ui, sans-serif; } .quiet { fill: #59636e; }
  .grid { stroke: #d1d9e0; } .one { stroke: #59636e; stroke-width: 1.5; } .whisker { stroke: #1f2328; stroke-width: 1.2; }
  .side0 { fill: #2f6fdb; } .side1 { fill: #7fa8ea; } .side2 { fill: #a8a29a; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; } text { fill: #f0f6fc; } .quiet { fill: #9198a1; }
    .grid { stroke: #30363d; } .one { stroke: #9198a1; } .whisker { stroke: #f0f6fc; }
    .side0 { fill: #5b95f5; } .side1 { fill: #37598f; } .side2 { fill: #6e6a64; }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One side in one workload: how many times as fast as raw Celery, at the median and at both ends of the rounds."""

    side: int
    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Group:
    """One workload, its bars from the top down."""

    label: str
    what: str
    bars: tuple[Bar, ...]


def draw(title: str, sides: Sequence[str], groups: Sequence[Group]) -> str:
    """The whole picture; `title` is also what a screen reader says."""
    ends = [end for group in groups for bar in group.bars for end in (bar.least, bar.most)]
    scale = _Scale(min([1.0, *ends]), max([2.0, *ends]))
    body, y = [], TOP
    for group in groups:
        tall = len(group.bars) * (BAR + GAP)
        body += _text(LEFT - 12, y + tall / 2 - 3, group.label, "end") + _text(LEFT - 12, y + tall / 2 + 13, group.what, "end", "quiet")
        for place, bar in enumerate(group.bars):
            body += _bar(scale, y + place * (BAR + GAP), bar)
        y += tall + BETWEEN
    height = y + 24
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
    ]
    return "\n".join([*head, *_legend(title, sides), *_grid(scale, y - BETWEEN + 6), *body, "</svg>"]) + "\n"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Equal factors are equal distances: twice as slow is as far to the left as twice as fast to the right."""

    least: float
    most: float

    def __call__(self, factor: float) -> float:
        low, high = math.log(self.least), math.log(self.most * 1.05)
        return LEFT + (math.log(factor) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _bar(scale: _Scale, y: float, bar: Bar) -> list[str]:
    begin, end = sorted((scale(1.0), scale(bar.median)))
    middle, least, most = y + BAR / 2, scale(bar.least), scale(bar.most)
    drawn = [f'<rect class="side{bar.side % 3}" x="{begin:.1f}" y="{y:.1f}" width="{max(1.0, end - begin):.1f}" height="{BAR}" rx="2"/>']
    if bar.least < bar.most:
        drawn.append(f'<line class="whisker" x1="{least:.1f}" x2="{most:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
    return drawn + _text(max(end, most) + 6, y + BAR - 4, f"{bar.median:.2g}{TIMES}" if bar.median < 10 else f"{bar.median:.0f}{TIMES}")


def _grid(scale: _Scale, bottom: float) -> list[str]:
    shown = [factor for factor in FACTORS if scale.least <= factor <= scale.most * 1.05]
    lines = []
    for factor in shown:
        kind = "one" if factor == 1 else "grid"
        lines.append(f'<line class="{kind}" x1="{scale(factor):.1f}" x2="{scale(factor):.1f}" y1="{TOP - 8}" y2="{bottom:.1f}"/>')
        lines += _text(scale(factor), bottom + 16, "raw Celery" if factor == 1 else f"{factor:g}{TIMES}", "middle", "quiet")
    return lines


def _legend(title: str, sides: Sequence[str]) -> list[str]:
    lines, x = _text(16, 22, title), 16.0
    for place, side in enumerate(sides):
        lines.append(f'<rect class="side{place % 3}" x="{x:.1f}" y="33" width="12" height="12" rx="2"/>')
        lines += _text(x + 18, 43, side, kind="quiet")
        x += 36 + 7 * len(side)
    return lines


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> list[str]:
    named = f' class="{kind}"' if kind else ""
    return [f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>']
