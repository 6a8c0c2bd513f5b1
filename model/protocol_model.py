"""The model as a script: `python model/protocol_model.py` is `python -m model`, from any folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    runpy.run_module("model", run_name="__main__", alter_sys=True)
