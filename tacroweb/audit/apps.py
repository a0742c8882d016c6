"""The audit app: takes what stands in a migration's way and installs the triggers after it."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate


class AuditConfig(AppConfig):
    name = "tacroweb.audit"
    label = "audit"

    def ready(self) -> None:
        pre_migrate.connect(_make_way, sender=self)
        post_migrate.connect(_protect, sender=self)


def _make_way(*, using: str, plan: Any, **kwargs: Any) -> None:
    from .append_only import HELD, drop_triggers

    if plan:
        drop_triggers(connections[using], prefix=HELD)


def _protect(*, using: str, **kwargs: Any) -> None:
    from .append_only import install_triggers

    install_triggers(connections[using])
