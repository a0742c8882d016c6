"""Who asks, at which clinic, and what they may do: one check behind two doors, pages and API."""

import functools
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from tacroweb.audit.signature import Channel, Signature

from .models import ApiToken, Clinic, Membership, User
from .roles import PERMISSIONS, SCOPE_OF, Permission, Role, Scope
from .services import digest_of_key

if TYPE_CHECKING:
    # Not at run time: that module reads REST_FRAMEWORK, which names the classes below.
    from rest_framework.views import APIView

P = ParamSpec("P")

NO_ROLE = "You hold no role at any clinic today. Ask an administrator of your clinic for one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One signed-in person at one clinic, for one request."""

    user: User
    clinic: Clinic
    clinics: tuple[Clinic, ...]
    roles: frozenset[Role]
    channel: str
    scopes: frozenset[Scope] | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def can(self, permission: Permission) -> bool:
        """Do the roles allow it, and the token's scope where there is a token?"""
        if self.scopes is not None and SCOPE_OF.get(permission) not in self.scopes:
            return False
        return any(permission in PERMISSIONS[role] for role in self.roles)

    @property
    def permissions(self) -> frozenset[str]:
        """The names of everything allowed, for templates."""
        return frozenset(permission.name for permission in Permission if self.can(permission))

    @property
    def role_names(self) -> str:
        """The roles in words, as they are printed beside a signature."""
        return ", ".join(sorted(str(role.label) for role in self.roles))

    def sign(self, reason: str = "") -> Signature:
        """This person's hand, for a service's `by`."""
        return Signature(
            actor_id=self.user.pk,
            actor_name=self.user.display_name,
            role=self.role_names,
            clinic_id=self.clinic.pk,
            channel=self.channel,
            reason=reason.strip(),
            request_id=self.request_id,
        )


def access_for(
    user: User,
    *,
    at: datetime,
    channel: str,
    clinic_id: int | None = None,
    scopes: Iterable[str] | None = None,
) -> Access | None:
    """The person's access now, at the clinic asked for or else the first; None without a role.

    A role begins and ends with a day of its clinic, wherever the server stands.
    """
    held = [
        membership
        for membership in Membership.objects.filter(user=user)
        .select_related("clinic")
        .order_by("clinic__name", "role")
        if membership.holds_on(at.astimezone(membership.clinic.zone).date())
    ]
    clinics = tuple({membership.clinic_id: membership.clinic for membership in held}.values())
    if not clinics or not user.is_active:
        return None
    clinic = next((clinic for clinic in clinics if clinic.pk == clinic_id), clinics[0])
    return Access(
        user=user,
        clinic=clinic,
        clinics=clinics,
        roles=frozenset(Role(held.role) for held in held if held.clinic_id == clinic.pk),
        channel=channel,
        scopes=None if scopes is None else frozenset(Scope) & frozenset(scopes),
    )


class SignInMiddleware(LoginRequiredMiddleware):
    """Asks for a sign-in; where only a part of a page was asked for, of the whole page."""

    def handle_no_permission(  # type: ignore[override]  # htmx obeys a header, not a redirect
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]
    ) -> HttpResponseBase:
        to_sign_in = super().handle_no_permission(request, view_func)
        if getattr(request, "htmx", False):
            return HttpResponseClientRedirect(to_sign_in.headers["Location"])
        return to_sign_in


class AccessMiddleware:
    """Puts `request.access` on each request of a signed-in person; shows the clinic's own time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        access = None
        if request.user.is_authenticated:
            channel = Channel.ADMIN if request.path.startswith("/admin/") else Channel.WEB
            if request.path.startswith("/api/"):
                channel = Channel.API
            access = access_for(
                request.user,
                at=timezone.now(),
                channel=channel,
                clinic_id=request.session.get("clinic_id"),
            )
        request.access = access  # type: ignore[attr-defined]
        with timezone.override(access.clinic.zone if access else None):
            response = self.get_response(request)
        if request.user.is_authenticated:
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def access_context(request: HttpRequest) -> dict[str, object]:
    """Templates see `access` (None when signed out) and whether this is the fictional clinic."""
    from django.conf import settings

    return {"access": getattr(request, "access", None), "demo": settings.DEMO}


def access_of(request: HttpRequest | Request) -> Access:
    """The access of a request. Raises `PermissionDenied` for a person without a role."""
    access = getattr(request, "access", None)
    if not isinstance(access, Access):
        raise PermissionDenied(NO_ROLE)
    return access


def requires(
    *permissions: Permission,
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponseBase]],
    Callable[Concatenate[HttpRequest, P], HttpResponseBase],
]:
    """Guard a page: 403 with a sentence when the person's roles allow none of `permissions`."""

    def decorate(
        view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            check(access_of(request), *permissions)
            return view(request, *args, **kwargs)

        guarded.permissions = permissions  # type: ignore[attr-defined]  # the house-rule test reads it
        return guarded

    return decorate


def check(access: Access, *permissions: Permission) -> None:
    """Raises `PermissionDenied`, saying what the role lacks, when it allows none of these."""
    if not any(map(access.can, permissions)):
        lacking = " or ".join(permission.value for permission in permissions)
        raise PermissionDenied(f"Your role ({access.role_names}) may not {lacking}.")


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer tacro_…`: the token's owner, at its clinic, within its scopes."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = timezone.now()
        token = (
            ApiToken.objects.select_related("user", "clinic")
            .filter(digest=digest_of_key(key.strip()), revoked_at=None, expires_at__gt=now)
            .first()
        )
        if token is None or not token.user.is_active:
            raise exceptions.AuthenticationFailed("This token is unknown, expired or revoked.")
        access = access_for(
            token.user,
            at=now,
            channel=Channel.API,
            clinic_id=token.clinic_id,
            scopes=token.scopes.split(),
        )
        if access is None or access.clinic.pk != token.clinic_id:
            raise exceptions.AuthenticationFailed("The token's owner holds no role at its clinic.")
        request._request.access = access  # type: ignore[attr-defined]
        timezone.activate(access.clinic.zone)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class SignedIn(permissions.BasePermission):
    """Any signed-in person who holds a role today: for the API's own description."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return getattr(request, "access", None) is not None


class DeclaredPermission(permissions.BasePermission):
    """Deny by default: a view names its permission for each action in `permissions_for`.

    `permissions_for = {"list": Permission.READ_PATIENTS, …}`; where one of several is enough, they
    stand in a tuple. An action not named is denied.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        access = getattr(request, "access", None)
        if access is None:
            self.message = NO_ROLE
            return False
        action = getattr(view, "action", None)
        if action is None and hasattr(view, "action_map"):
            return True  # no action for this method: nothing is called, the answer is 405
        needed: dict[str | None, Permission | tuple[Permission, ...]]
        needed = getattr(view, "permissions_for", {})
        named = needed.get(action, ())
        enough = (named,) if isinstance(named, Permission) else named
        if any(map(access.can, enough)):
            return True
        if enough:
            words = " or ".join(permission.value for permission in enough)
            self.message = f"You may not {words} with this account or token."
        return False
