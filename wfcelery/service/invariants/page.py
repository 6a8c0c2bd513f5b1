"""The page of all invariants, written from the registry: `python -m wfcelery.service.invariants.page > docs/reference/invariants.md`."""

from __future__ import annotations

import sys

from wfcelery.service.invariants import INVARIANTS, LATER

_OPENING = """# What must always hold

Written by `make docs` from `wfcelery/service/invariants`. `wfcelery runs verify RUN` (or `--all`) checks it on any
database, while workers are up or not, and names each problem by its number. `make corrupt` breaks a clean run once for
each line and shows which invariant finds it.

What is needed beside the tables: `effects`, `starts` and `tap` are files (below); `drained` is `--drained`, for a fleet
that has come to rest; `bound` is `--bound SPAN`, for a fleet whose workers are up; `healed` is known to the rigs alone.
Where a run's history has a gap (31), what is read from histories is not judged for that run; where its definition is
not the stored one (5), what is read from definitions is not. A run that a ledger names and that is not there is no
problem once it is older than the setting `retention`: it may have expired.

| number | name | what always holds | needs |
|---|---|---|---|
"""

_LATER = """
## Not yet

These numbers of the list speak of what is not there yet, and arrive with it.

| number | arrives with |
|---|---|
"""

_CLOSING = """
## The files

Each is JSON lines, one object a line, and is only ever appended to. Fields that are not named here are passed over.

**`--effects FILE`: what steps did**, written by the steps themselves to a place that no fault reaches.

```
{"workflow": "order", "step": "charge", "kind": "transactional"}
{"key": "3f…", "run": "0192…", "step": "charge", "attempt": 1, "token": "5c…", "phase": "begun"}
{"key": "3f…", "run": "0192…", "step": "charge", "attempt": 1, "token": "5c…", "phase": "applied"}
{"key": "3f…", "run": "0192…", "step": "charge", "attempt": 1, "token": "5c…", "phase": "ended", "result": "9b…"}
{"phase": "crash"}
```

A line with `kind` and no `phase` says what a step is: `transactional` (its effect is a row of its own transaction),
`idempotent` (it hands its key to something that applies it once), or `plain`, which goes without saying; `workflow` may
be left out. `key` is `current_step().key`. `item` is the number of a fan-out's item. `token` may be left out. `result`
is the digest of the stored form of what the step returned, as the history has it under `value`; it may be left out.
`applied` lines of a transactional step are read from its table when all is over. A `crash` line records a crash of the
database, which can take back a claim: one call more is then no problem.

**`--starts FILE`: what clients asked for**, written by the clients.

```
{"phase": "sent", "workflow": "order", "key": "order-1042", "input": "77…"}
{"phase": "answered", "workflow": "order", "key": "order-1042", "run": "0192…"}
{"phase": "seen", "run": "0192…", "status": "succeeded"}
```

`phase` is `sent`, `answered`, `unknown` (no answer came), `refused`, or `seen` (a client read this status). `input` is
the digest in `wf_run.input_digest`; `organization_id` is `default` where it is left out; `again: true` goes with
`on_conflict="new_if_ended"`, which may give one key to several runs.

**`--tap FILE`: what the broker carried.**

```
{"queue": "celery", "body": {"v": 1, "ns": "x7", "org": "default", "run": "0192…", "step": "0192…"}, "bytes": 131}
```

`body` is the object of ids that the message carries, as an object or as its text; `bytes` is its size on the wire.

## What `--fix` heals

`runs verify --fix` says what would be done, `--fix --yes` does it: under the run's lock, each row only over what was
read, and with one more version and a `run_healed` in the history of a run that has begun. What it writes is nothing
that a decision would have to make:

- a ring that is missing, or that nothing needs (35, 50), and one put off without a reason (45);
- the due time of a run that has not begun (34), or of its deadline (35);
- a deadline on a step that does not run (35);
- the inbox row of a step that has reported (35);
- the counters of open steps, open waits and items left, from a recount of the history, where something is left to count
  down (43).

It never makes up a status, a result, a token, a wait, a dead letter or a commit, and it leaves a run alone whose history
has a gap, whose definition is not stored, or that was put aside. A lost worker's step and a late fact in the inbox of an
ended run are no problems: the sweep takes care of them by itself.
"""


def page() -> str:
    """The page, in Markdown."""
    entries: dict[int, tuple[str, list[str], dict[str, None]]] = {}
    for invariant in INVARIANTS:
        _, promises, needs = entries.setdefault(invariant.number, (invariant.name, [], {}))
        promises.append(invariant.promise)
        needs.update(dict.fromkeys(invariant.needs))
    lines = [f"| {number} | {name} | {' '.join(said)} | {', '.join(needs)} |\n" for number, (name, said, needs) in sorted(entries.items())]
    later = [f"| {number} | {what} |\n" for number, what in sorted(LATER.items())]
    return _OPENING + "".join(lines) + _LATER + "".join(later) + _CLOSING


if __name__ == "__main__":
    sys.stdout.write(page())
