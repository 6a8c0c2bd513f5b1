"""wfcelery beside raw Celery: the same workloads, the same machine, the same minutes."""
