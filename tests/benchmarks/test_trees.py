"""The CPU and the memory of a tree of processes, whoever in it has died."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import trees

# Its child works for 0.3 s of CPU and ends, its grandchild still lives.
PARENT = """
import os, sys, time
if os.fork() == 0:
    while time.process_time() < 0.3:
        pass
    os._exit(0)
os.wait()
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("there", flush=True)
sys.stdin.read()
"""


def test_the_work_of_a_child_that_died_is_still_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()

        members = trees.tree(trees.processes(), [process.pid])

        assert len(members) == 2
        assert trees.cpu_ms(members) >= 290
        assert trees.memory_mb(members) > 1
        process.communicate("")


def test_the_machine_did_at_least_what_one_of_its_processes_did() -> None:
    assert trees.machine_busy_ms() >= trees.cpu_ms([trees.processes()[1]])
