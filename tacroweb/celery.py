"""The Celery app; its beat schedule stands in the settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tacroweb.settings")

app = Celery("tacroweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
