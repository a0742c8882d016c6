"""Tasks and sweeps in the back office: to be looked at, not edited."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from monitoring.models import MonitoringTask, Review, SweepRun


class ReadOnly(admin.ModelAdmin[Any]):
    """Rows to look at: tasks are cancelled on their page, reviews and sweeps write themselves."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(MonitoringTask)
class MonitoringTaskAdmin(ReadOnly):
    list_display = ("analyte", "due_on", "latest_on", "statements", "status", "patient")
    list_filter = ("status", "analyte")
    list_select_related = ("analyte", "patient")


@admin.register(Review)
class ReviewAdmin(ReadOnly):
    list_display = ("patient", "at", "facts_version", "failure")
    list_select_related = ("patient",)


@admin.register(SweepRun)
class SweepRunAdmin(ReadOnly):
    list_display = ("started_at", "finished_at", "patients", "failed")
