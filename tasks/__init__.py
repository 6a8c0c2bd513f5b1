"""Reference workflows, written against wfcelery's public surface and nothing below it."""
