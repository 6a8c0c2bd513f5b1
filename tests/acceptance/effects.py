"""What steps did to the world: a file of JSON lines that only grows, written with one append and an fsync each."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effect:
    """One execution of a step's body, as far as it came."""

    key: str
    step: str
    attempt: int
    pid: int
    at: float
    note: str = ""


class Effects:
    """The ledger. Any process may append; a crash leaves whole lines or none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, key: str, step: str, attempt: int, note: str = "") -> None:
        line = json.dumps({"key": key, "step": step, "attempt": attempt, "pid": os.getpid(), "at": time.time(), "note": note}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)

    def all(self, step: str | None = None) -> list[Effect]:
        if not self.path.exists():
            return []
        effects = [Effect(**json.loads(line)) for line in self.path.read_text().splitlines()]
        return [effect for effect in effects if step is None or effect.step == step]

    def steps(self) -> list[str]:
        """The steps in the order in which their bodies ran, repeated attempts included."""
        return [effect.step for effect in self.all()]

    def attempts(self, step: str) -> list[int]:
        return [effect.attempt for effect in self.all(step)]

    def keys(self, step: str) -> set[str]:
        return {effect.key for effect in self.all(step)}

    def repeated(self) -> dict[str, list[Effect]]:
        """Keys under which a body ran more than once. Empty after a run without a crash."""
        by_key: dict[str, list[Effect]] = defaultdict(list)
        for effect in self.all():
            by_key[effect.key].append(effect)
        return {key: effects for key, effects in by_key.items() if len(effects) > 1}
