"""The monitoring app: what must be done next."""

from django.apps import AppConfig

LISTENER = "monitoring"


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        from dosing.rules.signals import local_approvals_changed, rule_book_published
        from patients.signals import patient_changed

        from .tasks import review_after_change, review_after_rules_changed

        patient_changed.connect(review_after_change, dispatch_uid=LISTENER)
        for changed in (rule_book_published, local_approvals_changed):
            changed.connect(review_after_rules_changed, dispatch_uid=LISTENER)
