"""A shell of the team's: a process that has the app imported, and answers one line after another."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

RAISED = "raised"


class ShellError(Exception):
    """What was asked raised; `kind` is the name of its type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Shell:
    """A web server, a script, a notebook: any process of the team's that is no worker. It ends when the tests do."""

    def __init__(self, python: str, app: str, folder: Path, environment: Mapping[str, str]) -> None:
        with (folder / "shell.log").open("ab") as log:
            self._process = subprocess.Popen(
                [python, "-m", "tests.acceptance.shell", app],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answers: Queue[str] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __call__(self, source: str, within: float = 60.0) -> Any:
        """The value of the source's last line, which must be an expression, as JSON keeps it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        try:
            answer = json.loads(self._answers.get(timeout=within))
        except Empty:
            raise AssertionError(f"the shell did not answer within {within:g} s: {source}") from None
        if RAISED in answer:
            raise ShellError(*answer[RAISED])
        return answer["value"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait(30)
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)


def evaluate(source: str, names: dict[str, Any]) -> Any:
    """Run all but the last line, and give the value of that."""
    tree = ast.parse(source)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr), "the last line is not an expression"
    exec(compile(tree, "<shell>", "exec"), names)  # noqa: S102
    return eval(compile(ast.Expression(last.value), "<shell>", "eval"), names)  # noqa: S307


def serve(app: str, questions: IO[str], answers: IO[str]) -> None:
    names: dict[str, Any] = {}
    exec(f"from wfcelery import *\nfrom {app} import *", names)  # noqa: S102
    names["app_module"] = importlib.import_module(app)
    for line in questions:
        try:
            answer: dict[str, Any] = {"value": evaluate(json.loads(line), names)}
        except Exception as error:
            answer = {RAISED: [type(error).__name__, str(error)]}
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()


if __name__ == "__main__":
    said = os.fdopen(os.dup(1), "w")  # what the app prints shall not get between the answers
    os.dup2(2, 1)
    serve(sys.argv[1], sys.stdin, said)
