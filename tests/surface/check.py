"""`python check.py [mypy|pyright]`: good.py is clean; bad.py has one error on each `# E:` line and none elsewhere, per checker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ECHO = "Untyped decorator makes function"  # mypy's second line for a decorator that matched no overload
Found = Mapping[tuple[str, int], list[str]]


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def mypy() -> Found:
    """What mypy --strict says of the two files; what it says of the package is the package's own check."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    options = ("--strict", "--no-error-summary", "--hide-error-context", "--follow-imports=silent")
    said = run(sys.executable, "-m", "mypy", f"--config-file={HERE / 'mypy.ini'}", *options, "good.py", "bad.py")
    for line in said.splitlines():
        place = re.match(r"(\w+\.py):(\d+): error: (.*)", line)
        if place and ECHO not in line:
            found[place[1], int(place[2])].append(place[3])
    return found


def pyright() -> Found:
    """What pyright says of them."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    said = run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(HERE / "pyrightconfig.json"))
    for each in json.loads(said)["generalDiagnostics"]:
        if each["severity"] != "information":
            found[Path(each["file"]).name, each["range"]["start"]["line"] + 1].append(each["message"])
    return found


def expected() -> Found:
    """The lines that shall have an error, and what it says in mypy and in pyright."""
    lines = (HERE / "bad.py").read_text(encoding="utf-8").splitlines()
    return {
        ("bad.py", number): found[1].split(" # ")[0].strip().split(" || ")
        for number, text in enumerate(lines, 1)
        if (found := re.search(r"  # E: (.*)", text))
    }


def unseen() -> list[str]:
    """The names of the tests that show what tells a mistake no checker can see."""
    return re.findall(r"  # N: (\w+)", (HERE / "bad.py").read_text(encoding="utf-8"))


def differences(checker: Callable[[], Found]) -> list[str]:
    """Every line on which the checker says something else than expected."""
    want, found, wrong = expected(), checker(), []
    which = 0 if checker is mypy else -1
    for place in sorted(want.keys() | found.keys()):
        texts, messages = want.get(place), found.get(place, [])
        if texts is None or len(messages) != 1 or texts[which] not in messages[0]:
            wrong.append(f"{place[0]}:{place[1]} expected {texts and texts[which]!r}, got {len(messages)}: {messages}")
    return wrong


def main() -> int:
    wrong = 0
    for checker in [globals()[name] for name in sys.argv[1:]] or [mypy, pyright]:
        told = differences(checker)
        wrong += len(told)
        print(f"{checker.__name__}: {len(expected())} errors expected, {len(told)} lines differ", *told, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
