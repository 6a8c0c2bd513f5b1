"""Every acceptance test again, with one message per attempt: how far workers run ahead changes when things happen, not what."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.acceptance.processes import ROOT
from tests.servers import caretaker

ABOUT_A_SERVER = "WFCELERY_TEST_"  # there is no RabbitMQ here, or a server is not ours to stop


@pytest.mark.long
def test_the_acceptance_tests_pass_with_one_message_per_attempt(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    log, report = tmp_path / "tests.log", tmp_path / "report.xml"
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", str(folder), f"--ignore={__file__}", "--also-long", "--timeout=600", f"--junitxml={report}"]
    tests = caretaker.start(
        [*command, "-p", "no:cacheprovider"], log, environment={**os.environ, "WFCELERY_TEST_RUN_AHEAD": "0"}, folder=ROOT
    )
    try:
        code = tests.wait(3_000)
    finally:
        caretaker.end(tests)

    assert code == 0, "\n".join(log.read_text(errors="replace").splitlines()[-200:])
    cases = ElementTree.parse(report).findall(".//testcase")  # noqa: S314 (our own pytest wrote it)
    skipped = [skip.get("message", "") for case in cases for skip in case.findall("skipped")]
    assert [why for why in skipped if ABOUT_A_SERVER not in why] == []
    assert len(cases) - len(skipped) > 100
    record_property("told", f"{len(cases) - len(skipped)} tests passed, {len(skipped)} skipped")
