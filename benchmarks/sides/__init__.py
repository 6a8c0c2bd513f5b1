"""What is compared: each module here is one Celery app and says how its chain and its fan-out are started."""
