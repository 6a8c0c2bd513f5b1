"""The tables that the benchmark prints, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.costs import BROKER_COUNTS, DATABASE_COUNTS, GROUPS
from benchmarks.report import AGAINST_FLOOR, AGAINST_RAW, OF_PEERS, Report, Spread
from benchmarks.sides.catalogue import FLOOR, OURS, RAW
from benchmarks.sides.peers.catalogue import EVERYONE, PEERS_BY_NAME
from benchmarks.workloads import WORKLOADS, Workload

COSTED = ("W1", "W2", "W3_1000", "W3_10000", "W6_1000")
COUNT_NAMES = {
    "statements": "statements",
    "round_trips": "round trips",
    "commits": "commits",
    "rows": "rows",
    "wal_bytes": "WAL bytes",
    "messages": "messages",
    "broker_commands": "broker commands",
    "broker_reads": "broker round trips",
}


def figures(report: Report, sides: Sequence[str]) -> str:
    """Medians with their spread, a column for each side."""
    rows = [["", "workload", *(EVERYONE[side].label for side in sides)]]
    for workload in WORKLOADS:
        if report.size(workload.name) is not None:
            rows.append([_shortened(workload.name), _what(report, workload), *(_figure(report, side, workload) for side in sides)])
    return _table(rows)


def ratios(report: Report, sides: Sequence[str]) -> str:
    """Every other side beside raw Celery, and wfcelery beside the floor, of the same round."""
    others = [side for side in sides if side != RAW] if RAW in sides else []
    beside_floor = [side for side in sides if side not in (RAW, FLOOR)] if FLOOR in sides else []
    head = [f"{EVERYONE[side].label} / raw" for side in others] + [f"{EVERYONE[side].label} / floor" for side in beside_floor]
    rows = [["", *head]]
    for name in AGAINST_RAW:
        found = [report.ratio(side, RAW, name) for side in others]
        found += [report.ratio(side, FLOOR, name) if name in AGAINST_FLOOR else None for side in beside_floor]
        if any(found):
            rows.append([_shortened(name), *(_spread(each) for each in found)])
    flat = [report.flatness(side) for side in others]
    if any(flat):
        rows.append(["W6, dearest size / cheapest", *(_spread(each) for each in flat), *([""] * len(beside_floor))])
    return _table(rows)


def peers(report: Report, sides: Sequence[str]) -> str:
    """Raw Celery, wfcelery and the other engines: the figures, a row for each side."""
    shown = [workload for workload in WORKLOADS if workload.name in OF_PEERS and report.size(workload.name) is not None]
    rows = [["", *(f"{_shortened(workload.name)}, {workload.unit}" for workload in shown)]]
    for side in _with_peers(sides):
        rows.append([EVERYONE[side].label, *(_figure(report, side, workload).removesuffix(f" {workload.unit}") for workload in shown)])
    return _table(rows)


def peers_ratios(report: Report, sides: Sequence[str]) -> str:
    """Wfcelery and the other engines over raw Celery, in the same round."""
    names = [name for name in AGAINST_RAW if report.size(name) is not None]
    rows = [["over raw Celery", *(_shortened(name) for name in names)]]
    for side in _with_peers(sides):
        if side != RAW:
            rows.append([EVERYONE[side].label, *(_spread(report.ratio(side, RAW, name)) or "-" for name in names)])
    return _table(rows)


def absent(report: Report) -> str:
    """The sides that could not run, with what failed. Empty where all could."""
    rows = [["could not run", "command", "error"]]
    for side, command, error in report.absent():
        rows.append([EVERYONE[side].label, f"`{command}`", f"`{_last_line(error)}`"])
    return _table(rows)


def cpu(report: Report, sides: Sequence[str]) -> str:
    """CPU in ms a step, by workload, side and group of processes. Empty where nothing was read."""
    rows = [["", "side", *GROUPS, "together"]]
    for workload, side in _costed(report, sides):
        spent = [report.per_step(side, workload, f"cpu_{group}") or 0.0 for group in GROUPS]
        rows.append([_shortened(workload), EVERYONE[side].label, *(_number(each) for each in (*spent, sum(spent)))])
    return _table(rows)


def counts(report: Report, sides: Sequence[str]) -> str:
    """What reached the database and the broker, a step. Empty where nothing was read."""
    names = DATABASE_COUNTS + BROKER_COUNTS
    rows = [["", "side", *(COUNT_NAMES[name] for name in names)]]
    for workload, side in _costed(report, sides):
        counted = [report.per_step(side, workload, name) for name in names]
        rows.append([_shortened(workload), EVERYONE[side].label, *(_number(each) for each in counted)])
    return _table(rows)


def memory(report: Report, sides: Sequence[str]) -> str:
    """PSS at its highest in any cell, in MB; the database and the broker serve all sides at once."""
    rows = [["side", *GROUPS]]
    for side in sides:
        held = [report.memory(side, group) for group in GROUPS]
        if any(held):
            rows.append([EVERYONE[side].label, *("-" if each is None else f"{each:.0f}" for each in held)])
    return _table(rows)


def all_of(report: Report, sides: Sequence[str]) -> str:
    own, others = [side for side in sides if side not in PEERS_BY_NAME], [side for side in sides if side in PEERS_BY_NAME]
    parts = [figures(report, own)]
    if beside := ratios(report, own):
        parts += ["Ratios, median (least to most):", beside]
    if others:
        parts += ["Beside other engines:", peers(report, sides), peers_ratios(report, sides)]
    if gone := absent(report):
        parts.append(gone)
    parts += ["CPU ms per step, medians:", cpu(report, sides), "Per step, medians:", counts(report, sides)]
    return "\n\n".join([*parts, "Memory, MB:", memory(report, sides)])


def _with_peers(sides: Sequence[str]) -> list[str]:
    return [side for side in sides if side in (RAW, OURS) or side in PEERS_BY_NAME]


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].replace("|", "/").replace("`", "'") if text.strip() else ""


def _costed(report: Report, sides: Sequence[str]) -> list[tuple[str, str]]:
    return [(workload, side) for workload in COSTED for side in sides if report.per_step(side, workload, "cpu_worker") is not None]


def _figure(report: Report, side: str, workload: Workload) -> str:
    if workload.name in EVERYONE[side].lacks:
        return "-"
    found = report.spread(side, workload.name)
    if found is None:
        return "no figure" if any((cell.side, cell.workload) == (side, workload.name) for cell in report.cells) else ""
    return f"{_spread(found)} {workload.unit}"


def _what(report: Report, workload: Workload) -> str:
    better = " (more is better)" if workload.more_is_better else ""
    return workload.what.format(size=f"{report.size(workload.name):,}") + better


def _shortened(name: str) -> str:
    first, _, size = name.partition("_")
    return f"{first}, {int(size):,}" if size else first


def _spread(found: Spread | None) -> str:
    if found is None:
        return ""
    if found.least == found.most:
        return _number(found.median)
    return f"{_number(found.median)} ({_number(found.least)} to {_number(found.most)})"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else f"{value:.1g}"


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    if not rest:
        return ""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rest])
