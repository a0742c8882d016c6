"""The back office: open to those whose roles maintain something in it, and to nobody else."""

from django.contrib.admin import AdminSite
from django.http import HttpRequest

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
