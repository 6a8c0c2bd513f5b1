"""What a built-in step needs when it is executed, and not before: its heavier half, and the settings of this process."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from wfcelery.builtin.failures import NotInstalled
from wfcelery.errors import Misconfigured
from wfcelery.settings import Settings


def part(name: str, step: str, extra: str | None = None) -> Any:
    """The module of this folder that does the work. `NotInstalled` names the extra where one of its packages is not there."""
    try:
        return import_module(f"wfcelery.builtin.{name}")
    except ModuleNotFoundError as missing:
        if extra is None or (missing.name or "").startswith("wfcelery"):
            raise
        raise NotInstalled(f"{step} needs {missing.name} on the worker: pip install 'wfcelery[{extra}]'") from None


def settings() -> Settings:
    """The settings of the app that wfcelery is installed on; without one, as in a shell or a test, those of the environment."""
    context = import_module("wfcelery.service.context")
    try:
        found: Settings = context.current().settings
    except Misconfigured:
        return Settings.read()
    return found
