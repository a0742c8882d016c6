"""The back office: open to those whose roles maintain something in it, and to nobody else."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from .access import Access
from .roles import Permission

MAINTAINERS = (
    Permission.MAINTAIN_VOCABULARY,
    Permission.EDIT_RULES,
    Permission.APPROVE_RULES,
    Permission.MANAGE_ACCOUNTS,
)


def may(request: HttpRequest, *permissions: Permission) -> bool:
    """Do the person's roles at this clinic today allow one of these?"""
    access = getattr(request, "access", None)
    return isinstance(access, Access) and any(map(access.can, permissions))


class BackOffice(AdminSite):
    """Roles decide, not Django's own flags: neither `is_staff` nor `is_superuser` opens a door."""

    site_header = "TacroWeb back office"
    site_title = "TacroWeb back office"
    index_title = "Vocabulary, rules and accounts"
    site_url = "/"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return may(request, *MAINTAINERS)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The tables as they are read: a table may name its title, its heading and its place.

        Those that name none stand under no heading, by the alphabet.
        """
        apps: list[Any] = super().get_app_list(request, app_label)
        for app in apps:
            for table in app["models"]:
                shown = self._registry[table["model"]]
                table["name"] = getattr(shown, "title", "") or table["name"]
                table["heading"] = getattr(shown, "heading", "")
                table["place"] = getattr(shown, "place", 0)
                table["note"] = shown.note(request) if hasattr(shown, "note") else ""
            app["models"].sort(key=lambda table: table["place"])
        return apps

    @method_decorator(never_cache)
    @login_not_required
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The product's one sign-in page; who is signed in already is told what is lacking."""
        if request.user.is_authenticated:
            raise PermissionDenied("Your roles maintain nothing in the back office.")
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"))

    def password_change(  # type: ignore[override]  # a redirect instead of a page
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Changed on one's own account page, where it is a signed act."""
        return redirect("accounts:me")
