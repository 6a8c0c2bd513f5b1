"""The peers' environments: each made when it is first needed, and again when what it holds is to be something else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.sides.peers.catalogue import Peer

ROOT = Path(__file__).parent.parent
PATIENCE = 1200.0
_LINES, _WIDTH = 15, 300  # of what a failed command said


class CannotRunError(Exception):
    """A side that cannot take part: the command that failed, and what it said."""

    def __init__(self, command: str, said: str) -> None:
        self.command, self.said = without_places(command), without_places(said)
        super().__init__(f"{self.command}: {self.said}")


def make_ready(peer: Peer) -> None:
    """Its packages are installed. Raises CannotRunError."""
    stamp = peer.environment / "installed.json"
    wanted = json.dumps([sys.version, peer.packages, peer.node_packages])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _run(sys.executable, "-m", "venv", str(peer.environment))
    _run(peer.python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *peer.packages)
    if peer.node_packages:
        _run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(peer.environment / "node"), *peer.node_packages)
    stamp.write_text(wanted)


def without_places(text: str) -> str:
    """Paths of the project as they are on any machine."""
    return text.replace(f"{ROOT}/", "")


def last_lines(text: str) -> str:
    """The end of what was said, and of each of its lines."""
    return "\n".join(line[-_WIDTH:] for line in text.strip().splitlines()[-_LINES:])


def _run(*words: str) -> None:
    try:
        subprocess.run(
            words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
        )
    except subprocess.CalledProcessError as error:
        raise CannotRunError(" ".join(words), last_lines(error.stdout) or f"ended with {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotRunError(" ".join(words), f"did not end within {PATIENCE:g} s") from error
    except OSError as error:
        raise CannotRunError(" ".join(words), str(error)) from error
