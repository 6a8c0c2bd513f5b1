"""The same small work for a bare Celery worker and for one with wfcelery on it, by the environment."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("light", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)

if "WITH_WFCELERY" not in os.environ:

    @app.task
    def add_one(value: int) -> int:
        return value + 1

else:
    import wfcelery
    from wfcelery import step, workflow

    wfcelery.install(app)

    @step
    def one_more(value: int) -> int:
        return value + 1

    @workflow
    def ten_more(value: int) -> int:
        for _ in range(10):
            value = one_more(value)
        return value
