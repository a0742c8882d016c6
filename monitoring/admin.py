"""The sweeps in the back office: to be looked at, not edited. Tasks have their own pages."""

from django.contrib import admin
from django.http import HttpRequest

from monitoring.models import SweepRun


@admin.register(SweepRun)
class SweepRunAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The nightly sweeps; which patient failed is for that clinic's own pages."""

    list_display = ("started_at", "finished_at", "patients", "failed")
    fields = list_display

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: SweepRun | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SweepRun | None = None) -> bool:
        return False
