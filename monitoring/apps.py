"""The monitoring app: what must be done next."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
