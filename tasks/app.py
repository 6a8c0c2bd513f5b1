"""The Celery app of these workflows, as a team would write it: `celery -A tasks.app worker`, `celery -A tasks.app beat`."""

from __future__ import annotations

import os

from celery import Celery

import wfcelery

CATALOGUE = ("certificates", "expenses", "meters", "orders", "prices", "releases", "report", "salaries", "signups", "trips", "videos")

app = Celery("reports", broker=os.environ.get("BROKER_URL", "redis://localhost:6379/0"), include=[f"tasks.{name}" for name in CATALOGUE])
app.conf.broker_connection_retry_on_startup = True
wfcelery.install(app)
