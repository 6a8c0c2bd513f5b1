"""The concurrency protocol as an explicit-state model: every order of events is explored.

`states` says what a state is, `configurations` which worlds are explored, `world` and `deciding` what a
transaction does, `moves` what can happen next, `exploring` walks through all of it. `locks` is a second,
small model: the row locks of PostgreSQL. `mutants` lists the mistakes that the model must catch.
"""
