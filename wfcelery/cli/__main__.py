"""`python -m wfcelery.cli …` is `wfcelery …`: how a supervisor starts its worker with its own Python."""

from __future__ import annotations

from wfcelery.cli import main

if __name__ == "__main__":
    main()
