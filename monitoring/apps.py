"""The monitoring app: what must be done next."""

from django.apps import AppConfig

LISTENER = "monitoring"


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        from patients.signals import patient_changed

        from .tasks import review_after_change

        patient_changed.connect(review_after_change, dispatch_uid=LISTENER)
