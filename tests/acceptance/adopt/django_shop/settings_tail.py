# What the team has added to the generated settings: its database, its Celery, its app.
import json
import os

INSTALLED_APPS += ["shop"]  # noqa: F821
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **json.loads(os.environ["SHOP_DATABASE"])}}
CELERY_BROKER_URL = os.environ["SHOP_BROKER"]
CELERY_RESULT_BACKEND = os.environ["SHOP_BROKER"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ROUTES = {"shop.tasks.send_receipt": {"queue": "mail"}}
ROOT_URLCONF = "shop.urls"
LEDGER = os.environ["SHOP_LEDGER"]
WFCELERY = {"lease": 5, **({"database_url": os.environ["SHOP_TABLES"]} if "SHOP_TABLES" in os.environ else {})}
