"""The command line: a sentence on stderr and a documented exit code, never a trace, whatever is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bad_input.rows import counted
from tests.cli.command_line import FLOWS, ROOT, Cli, environment
from wfcelery.cli import group
from wfcelery.cli.lazy import COMMANDS
from wfcelery.service import context
from wfcelery.store.database import Database

CODES = {0, 1, 2, 3, 4, 5, 6, 69}
PASSWORD = "canary-7f3a"
START = ("-A", FLOWS, "runs", "start", "greeting")
OK = '{"name": "x"}'


@pytest.fixture(autouse=True)
def _own_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command chose is forgotten."""
    monkeypatch.setattr(context, "_make", context._make)
    monkeypatch.setattr(context, "_current", context._current)
    monkeypatch.setenv("WFCELERY_DATABASE_URL", "sqlite:////nowhere")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that hold nothing that can be used."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary").write_bytes(b"a: 1\n\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    (tmp_path / "deep").write_text("[" * 100_000)
    (tmp_path / "deep.dict").write_text('{"a":' * 100_000)
    (tmp_path / "digits").write_text('{"name":' + "9" * 10_000 + "}")
    (tmp_path / "lists").write_text('[1]\n5\n"x"\n')
    (tmp_path / "dicts").write_text('{}\n{"key": 5, "run": [], "phase": {}}\n{"run": "zz", "body": "zz"}\n')
    (tmp_path / "empty").write_text("")
    (tmp_path / "large.yaml").write_text("a: b\n" * 500_000)
    return tmp_path


BAD: list[tuple[int, tuple[str, ...]]] = [
    *((2, (*START, text)) for text in ("", "{", "[]", "5", "NaN", "x" * 100_000, "\x00", "\udcff", '{"name":' + "[" * 5_000)),
    *((2, (*START, f"@{name}")) for name in ("nowhere", "folder", "binary", "deep", "deep.dict", "digits", "", "x" * 5_000, "\x00")),
    *((1, (*START, text)) for text in ('{"nmae": 1}', '{"name": NaN}', '{"name": "\\ud800"}', '{"name": 1e999}')),
    *((1, (*START, OK, "--key", key)) for key in ("", "\x00", "\udcff", "k" * 5_000)),
    *((1, (*START, OK, "--delay", span)) for span in ("x", "", "-1", "9" * 400 + "w", "1e5", "\udcff")),
    *((1, (*START, OK, "--deadline", span)) for span in ("x", "1e5")),
    *((1, (*START, OK, "--priority", number)) for number in ("9" * 40, "-5", "256")),
    *((2, (*START, OK, "--priority", number)) for number in ("x", "1.5", "")),
    *((1, (*START, OK, option, text)) for option in ("--tag", "--org", "--queue") for text in ("", "\x00", "\udcff", "x" * 300)),
    *((3, ("runs", verb, "nope-nope")) for verb in ("show", "watch", "cancel", "verify")),
    *((3, ("runs", verb, "\udcff")) for verb in ("show", "watch", "cancel", "verify")),
    *((3, ("runs", verb, "x" * 100_000)) for verb in ("show", "watch", "cancel", "verify")),
    (3, ("dead", "show", "\udcff")),
    (3, ("dead", "retry", "00000000-0000-0000-0000-000000000000")),
    (3, ("dead", "purge", "--yes", "x" * 100_000)),
    (3, ("runs", "start", "nope", "{}")),
    (2, ("runs", "start", "\udcff", "{}")),
    (2, ("definitions", "show", "\udcff")),
    (2, ("runs", "list", "--org", "\udcff")),
    (2, ("runs", "list", "--limit", "0")),
    (2, ("dead", "retry", "--all", "--workflow", "\udcff")),
    (2, ("runs", "verify", "--all", "--bound", "5 parsecs")),
    *(
        (2, ("runs", "verify", "--all", f"--{ledger}", name))
        for ledger in ("effects", "starts", "tap")
        for name in ("binary", "deep", "lists")
    ),
    *((1, ("definitions", verb, name)) for verb in ("check", "publish") for name in ("binary", "empty", "deep", "large.yaml")),
    (2, ("definitions", "publish", "nowhere.yaml")),
    *((2, ("-A", name, "definitions", "check")) for name in ("", ":", ".", "..x", "no.such", "x" * 5_000, "a b", "\x00")),
    (2, ("nope",)),
    (2, ("runs", "nope")),
    (2, ("runs", "list", "--nope")),
]


def test_nothing_that_is_typed_gives_a_trace_or_writes_a_row(folder: Path, sqlite_database: Database) -> None:
    """S24: each with its exit code, and with a sentence that is no longer than a screen."""
    cli, before = Cli(sqlite_database.url), counted(sqlite_database)
    for code, arguments in BAD:
        result = cli.runner.invoke(group, ["--database", sqlite_database.url, *arguments], prog_name="wfcelery")
        said = f"{[argument[:60] for argument in arguments]} {result.exit_code} {result.output[-500:]!r} {result.exception!r}"
        assert result.exception is None or isinstance(result.exception, SystemExit), said
        assert result.exit_code == code, said
        assert result.stderr.strip(), said
        assert "Traceback" not in result.output, said
        assert len(result.output) < 2_000, said
    assert counted(sqlite_database) == before


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/x", 69),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:port/x", 2),
        (f"postgresql://u:{PASSWORD}@[::1/x", 2),
        (f"mysql://u:{PASSWORD}@127.0.0.1/x", 2),
        (f"http://u:{PASSWORD}@127.0.0.1/x", 2),
        (PASSWORD, 2),
        ("sqlite:///:memory:", 2),
        ("sqlite:////nowhere/at/all.db", 69),
        ("sqlite:///folder", 69),
        ("sqlite:///binary", 2),
        ("sqlite:///new.db", 2),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(url: str, code: int, folder: Path) -> None:
    """S8."""
    result = Cli(url)("runs", "list", code=code)
    assert PASSWORD not in result.output
    assert len(result.stderr.splitlines()) == 1


verbs = st.sampled_from([(name,) for name in COMMANDS if name not in ("dev", "demo", "worker", "doctor")])
words = (
    st.sampled_from(
        ["list", "show", "start", "cancel", "retry", "verify", "check", "publish", "--all", "--json", "--limit", "--key", "--", "-", "-q"]
    )
    | st.sampled_from(
        ["--status", "--help", "--yes", "{}", "@", "0", "-1", "nope", "default", "--delay", "1s", "\udcff", "%", "--wait=x", "x" * 3_000]
    )
    | st.text(st.characters(exclude_characters="\x00"), max_size=6)
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(verb=verbs, rest=st.lists(words, max_size=4))
def test_any_arguments_end_with_a_documented_code(folder: Path, sqlite_database: Database, verb: tuple[str, ...], rest: list[str]) -> None:
    """S24."""
    arguments = ["--database", sqlite_database.url, *verb, *rest]
    result = Cli(sqlite_database.url).runner.invoke(group, arguments, prog_name="wfcelery", input="")
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    assert result.exit_code in CODES
    assert "Traceback" not in result.output


def test_whoever_stops_reading_gets_no_trace(sqlite_database: Database) -> None:
    """`wfcelery runs list | head -0`, and an argument that is no text at all, in processes of their own."""
    command = [sys.executable, "-m", "wfcelery.cli", "--database", sqlite_database.url]
    with subprocess.Popen([*command, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment()) as closed:
        assert closed.stdout is not None
        assert closed.stderr is not None
        closed.stdout.close()
        assert b"Traceback" not in closed.stderr.read()
    done = subprocess.run([*command, "runs", "show", b"\xff\xfe"], capture_output=True, cwd=ROOT, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"wfcelery: there is no run ")
