"""The app of the patterns: every Python file of docs/patterns, imported as a team's worker would import its tasks."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery

import wfcelery

PATTERNS = Path(__file__).parents[2] / "docs" / "patterns"

app = Celery("patterns", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, result_backend=None)
wfcelery.install(app)


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORKFLOWS = {path.stem.removeprefix("pattern_"): _load(path).pattern for path in sorted(PATTERNS.glob("pattern_*.py"))}
