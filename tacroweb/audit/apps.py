"""The audit app: installs the append-only triggers after every migrate."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "tacroweb.audit"
    label = "audit"

    def ready(self) -> None:
        post_migrate.connect(_protect, sender=self)


def _protect(*, using: str, **kwargs: Any) -> None:
    from .append_only import install_triggers

    install_triggers(connections[using])
