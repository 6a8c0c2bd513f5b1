"""Other engines, the same work: each module is one of them, run in an environment of its own that has that engine's packages.

Beside the contract's functions a module has what its processes do: `serve` (a server of its own), `prepare` (tables, queues),
`work` (a worker). `python -m benchmarks.sides.peers MODULE VERB` runs one of them.
"""
