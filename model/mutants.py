"""The mistakes that the model must catch: what each of them is, and the configuration that shows it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A protocol with one mistake in it."""

    mistake: str
    where: str


LOCKS = "locks"
MUTANTS = {
    # the claim, the fence, the lock
    "finish_without_token": Mutant("a result is recorded over the status alone", "chain of 3: crash crash lose lose stall"),
    "token_is_attempt_number": Mutant("the token is the attempt's number, which can come twice", "chain: asyn dbcrash crash stall unknown"),
    "claim_without_cas": Mutant("a claim does not ask whether the step is ready", "chain: crash lose dup"),
    "counters_without_run_lock": Mutant("join counters are read and written without the run's lock", "fan-in: crash crash lose dup"),
    "reads_in_the_locking_statement": Mutant("the statement that waits for the lock reads the counters, too", "mixed fan-in: three crash"),
    "save_without_guard": Mutant("a row is written without the status it was read with", "chain: cancel crash lose timeout"),
    "kept_step_survives_cancel": Mutant("a kept step begins after its own worker has applied a cancel", "chain: cancel crash lose timeout"),
    # transactional steps report
    "result_only_in_inbox": Mutant("a report leaves the step's row as it is", "chain of 3: crash crash lose lose stall"),
    "report_and_fact_in_two_commits": Mutant("the row is reported in one commit, the run told in the next", "chain: crash lose dup"),
    "lease_sweep_takes_reported": Mutant("a reported step can be lost", "chain: unknown unknown stall crash"),
    "timeout_takes_reported": Mutant("a reported step can time out", "chain: cancel crash lose timeout"),
    "cancel_overwrites_reported": Mutant("a cancel closes a reported step", "chain: cancel crash lose timeout"),
    "no_try_after_put": Mutant("who reports does not drain", "chain: cancel crash lose timeout"),
    # the inbox and the bell
    "no_look_after_release": Mutant("nobody looks at the inbox after a commit", "chain: impatient cancel crash lose timeout"),
    "no_look_after_rollback": Mutant("nobody looks at the inbox after a rollback", "fan-in: impatient cancel timeout unknown"),
    "sweep_forgets_the_inbox": Mutant("the sweep does not look for inbox rows", "chain: unknown unknown stall crash"),
    "delete_all_not_those_read": Mutant("a drain deletes the run's inbox, not the rows it read", "chain: cancel crash lose timeout"),
    "terminal_run_is_not_drained": Mutant("a run that is over is not drained", "chain: cancel crash lose timeout"),
    "sweep_rings_only_published": Mutant("the sweep rings again only what was published", "chain: crash lose dup"),
    "run_ahead_without_lease": Mutant("a kept step is not under its worker's lease", "chain: crash lose dup"),
    "renew_by_claimed_by": Mutant("a worker renews what it claimed, not what it executes", "chain: crash lose dup"),
    "child_end_in_second_commit": Mutant("the parent is told in a commit of its own", "child: crash crash lose stall"),
    "pause_forgets_new_steps": Mutant("a step that becomes ready in a paused run is ready", "fan-in: pause resume crash"),
    # groups
    "group_recorded_without_token": Mutant("the items of a group are recorded over their status alone", "fan-out: crash stall"),
    "group_counts_what_it_claimed": Mutant("the counter falls by the items claimed, fenced ones included", "fan-out: crash stall"),
    "items_left_from_a_value_read_earlier": Mutant("the counter is the value read at the claim, less the group", "fan-out: unknown lose"),
    "sweep_forgets_fan_outs": Mutant("a fan-out with ready items is not rung again", "fan-out: crash stall"),
    # retries and dead letters
    "retry_counted_twice": Mutant("after an unknown commit a failure is recorded once more", "fan-out: limit2 fail unknown"),
    "lost_counts_as_failure": Mutant("a lost worker costs the code one of its tries", "chain: fail fail crash stall"),
    "claim_before_the_due_time": Mutant("a claim does not ask whether the retry is due", "fan-out: dup fail timeout"),
    "dead_letter_in_second_commit": Mutant("the step fails in one commit, its dead letter follows", "chain: fail fail crash stall"),
    "retry_without_guard": Mutant("a dead letter's retry does not ask whether its step has failed", "chain: alone fail fail retry retry"),
    "retry_keeps_the_failures": Mutant("a retried dead letter begins with its old failures", "chain: fail fail fail retry unknown lose"),
    "retry_forgets_what_stop_closed": Mutant("a retried dead letter reopens its step alone", "chain: fail fail fail retry unknown lose"),
    "reopening_keeps_the_counters": Mutant("a reopened join keeps the counter it was closed with", "fan-in: fail fail retry crash"),
    # held items
    "held_items_are_never_let_go": Mutant("no commit lets held items go", "fan-out: limit2 crash stall"),
    "let_go_in_second_commit": Mutant("held items are let go in a second commit", "fan-out: limit2 crash stall"),
    "fenced_items_free_slots": Mutant("items of a group that were fenced free their places, too", "fan-out of 4: limit2 stall"),
    "retry_frees_its_slot": Mutant("an item that waits for its retry gives its place away", "fan-out: limit1 fail fail crash"),
    "resume_ignores_the_limit": Mutant("a resume makes all held items ready", "fan-out: limit1 pause resume crash"),
    # row locks
    "run_locked_for_update": Mutant("the run's row is locked FOR UPDATE", LOCKS),
    "parent_and_child_lock_each_other": Mutant("a transaction locks two runs", LOCKS),
    "leases_renewed_in_any_order": Mutant("rows of several runs are locked without SKIP LOCKED", LOCKS),
    "lease_sweep_locks_steps_first": Mutant("the sweep locks the step before its run", LOCKS),
    "group_claim_waits_for_locked_items": Mutant("the claim of a group waits for locked items", LOCKS),
}
