"""Built-in steps are known everywhere, loaded late, and looked at before they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

import wfcelery.builtin
from tests.unit.worker.folder import FolderEngine
from wfcelery import step, workflow
from wfcelery.authoring.registry import Registry, registry
from wfcelery.authoring.yaml import load_yaml
from wfcelery.builtin import fail, http, noop, parts, sql
from wfcelery.builtin.failures import Fail, NotInstalled
from wfcelery.definition.built_in import BUILT_IN
from wfcelery.definition.problems import problems
from wfcelery.errors import AuthoringError, DefinitionProblems, NotFound
from wfcelery.settings import Settings
from wfcelery.worker.installation import Installation

ROOT = Path(__file__).resolve().parents[3]
NEEDED = ("celery", "sqlalchemy", "httpx", "httpcore", "smtplib", "wfcelery.service", "wfcelery.store")


def loaded(source: str) -> list[str]:
    """Which of what built-in steps need, and of the steps themselves, a new interpreter has loaded after this code."""
    told = f"{source}\nimport sys\nprint(*[name for name in sys.modules if name in {NEEDED!r} or name.startswith('wfcelery.builtin')])"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_a_definition_may_say_is_what_the_step_takes(name: str) -> None:
    known, parameters = BUILT_IN[name], registry.step(name).shape.parameters
    assert sorted(known.parameters) == sorted(parameters)
    assert sorted(known.required) == sorted(each for each, it in parameters.items() if it.default is it.empty)
    assert set(known.fixed) <= set(parameters)


def test_every_name_of_the_package_is_documented_and_there() -> None:
    assert set(wfcelery.builtin.__all__) <= set(dir(wfcelery.builtin))
    assert [name for name in wfcelery.builtin.__all__ if not (getattr(wfcelery.builtin, name).__doc__ or "").strip()] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wfcelery.builtin.nothing  # noqa: B018


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    assert loaded("import wfcelery; from wfcelery import step, workflow") == []
    assert "wfcelery.builtin" not in loaded("from wfcelery.cli import group")
    one = loaded("from wfcelery.authoring.registry import registry; registry.step('wf.noop')")
    assert one == ["wfcelery.builtin", "wfcelery.builtin.failures", "wfcelery.builtin.plain"]
    every = loaded("from wfcelery.authoring.registry import registry; registry.load_built_in()")
    assert set(every) & set(NEEDED) == set()


def test_any_registry_knows_them_and_none_gives_their_names_away() -> None:
    own = Registry()
    assert own.find_step("wf.http") is http.spec
    assert {"wf.email", "wf.sql"} <= set(own.names())
    assert [spec.name for spec in own.steps()] == ["wf.http"]
    with pytest.raises(NotFound, match=r"did you mean wf\.webhook"):
        own.step("wf.webhok")
    with pytest.raises(AuthoringError, match=r"two steps are called wf\.noop"):

        @step(name="wf.noop")
        def mine() -> None: ...


def test_a_worker_makes_tasks_of_them() -> None:
    own = Registry()
    with Celery("house", broker="wfmem://localhost//", set_as_current=False) as app:
        installation = Installation(app, lambda _: FolderEngine(None), {}, own)  # type: ignore[arg-type]
        installation.put()
        assert set(BUILT_IN) <= set(installation.names())
        policy = installation.caller.policy("wf.webhook")
        assert policy is not None
        assert policy.retry is not None
        assert policy.retry.count == 12
        assert "wf.webhook" in app.tasks
        own.load_built_in()
        assert set(BUILT_IN) <= set(app.tasks)


def test_noop_gives_back_and_fail_fails() -> None:
    assert noop({"a": 1}) == {"a": 1}
    assert noop() is None
    with pytest.raises(Fail) as told:
        fail("out of paper", code="paper")
    assert (str(told.value), told.value.code) == ("out of paper", "paper")


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'httpcore'", name="httpcore")

    monkeypatch.setattr(parts, "import_module", missing)
    with pytest.raises(NotInstalled, match=r"wf\.http needs httpcore on the worker: pip install 'wfcelery\[http\]'"):
        http.fn("https://example.com/")


WRONG = """
name: wrong
tasks:
  - {name: a, action: wf.htpt, input: {url: x}}
  - {name: b, action: wf.http, input: {uri: x, credentials: "{{ parameters.who }}"}}
  - {name: c, action: wf.sql, input: {statement: "select * from t where id = {{ parameters.id }}", database: 7}}
  - {name: d, action: wf.email, args: [1, 2]}
  - {name: e, action: wf.sql, input: {statement: "select 1; select 2"}}
  - {name: f, action: wf.webhook, input: {url: x, event: y, data: 1, secret: "{{ parameters.who }}"}}
  - {name: h, action: wf.webhook, input: {url: x, event: y, data: 1, secret: whsec_hush}}
  - {name: i, action: wf.sql, input: {statement: select 1, database: "postgresql://ann:hush@db/shop"}}
  - {name: g, action: wf.tasks.of_a_module_called_wf, input: {anything: 1}}
parameters: {who: {}, id: {}}
"""


def test_everything_wrong_with_calls_of_them_is_told_when_a_definition_is_published() -> None:
    with pytest.raises(DefinitionProblems) as told:
        load_yaml(WRONG)
    assert [str(problem) for problem in told.value.problems] == [
        "line 4: tasks.a.action: there is no built-in step wf.htpt; did you mean wf.http?",
        "line 5: tasks.b.input: wf.http needs url",
        "line 5: tasks.b.input.credentials: credentials are named by a text without {{ }}: no run may choose them",
        "line 5: tasks.b.input.uri: wf.http has no parameter uri; did you mean url?",
        "line 6: tasks.c.input.database: a database is named by a text without {{ }}: no run may choose it",
        "line 6: tasks.c.input.statement: a statement is one text without {{ }}: write :name in it, and give the value in parameters",
        "line 7: tasks.d.args: wf.email takes its input by name: to, subject, text, html, cc, bcc, reply_to, sender, attachments, timeout",
        "line 8: tasks.e.input.statement: it holds more than one statement: make each a task of its own",
        "line 9: tasks.f.input.secret: a secret is named by a text without {{ }}: no run may choose it",
        "line 10: tasks.h.input.secret: here stands a name that the operator has given, at most 64 letters, digits and . _ -",
        "line 11: tasks.i.input.database: here stands a name that the operator has given, at most 64 letters, digits and . _ -",
    ]


def test_a_statement_made_of_data_is_refused_in_python_too() -> None:
    @workflow
    def wrong(statement: str) -> None:
        sql(statement)

    assert [problem.path for problem in problems(wrong.definition)] == ["tasks.sql.input.statement"]


SECRETS = {
    "email_url": "smtp://ann:hush@mail.example.com:587",
    "webhook_secrets": {"default": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    "http_credentials": {"billing": {"hosts": ["api.example.com"], "headers": {"Authorization": "Bearer hush"}}},
    "sql_databases": {"shop": "postgresql://ann:hush@db/shop"},
}


def test_no_secret_is_in_what_settings_print() -> None:
    said = repr(Settings(**SECRETS)) + str(Settings(**SECRETS).model_dump_json())  # type: ignore[arg-type]
    assert "hush" not in said
    assert "MfKQ9r8" not in said


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("email_url", "http://hush@x"),
        ("email_url", "smtp://"),
        ("email_url", "hush"),
        ("webhook_secrets", {"default": "hush"}),
        ("webhook_secrets", {"default": "whsec_aHVzaA=="}),
        ("webhook_secrets", {"default": []}),
        ("http_credentials", {"billing": {"hosts": [], "headers": {"A": "hush"}}}),
        ("http_credentials", {"billing": {"hosts": ["https://hush/x"], "headers": {"A": "hush"}}}),
        ("http_credentials", {"billing": {"hosts": ["x"], "headers": {"A": "hush"}, "token": "hush"}}),
        ("http_credentials", {"billing": {"hosts": ["x"], "headers": {"A": "hush\r\nX: y"}}}),
        ("http_credentials", {"billing": {"hosts": ["x"], "headers": {"A b": "hush"}}}),
        ("sql_databases", {"shop": "hush"}),
        ("outgoing_allowed", ["10.0.0.1/8"]),
        ("outgoing_allowed", ["http://hush"]),
        ("outgoing_allowed", ["300.1.1.1"]),
    ],
)
def test_a_setting_that_cannot_be_is_told_without_its_value(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting) as told:
        Settings(**{setting: value})  # type: ignore[arg-type]
    assert "hush" not in str(told.value)
