"""People, roles and tokens in the back office; the ledger beside them, to be read only.

Each save is a signed service call and needs a reason. An administrator manages the people of the
own clinic: of whoever works at another one too, only the roles here.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from tacroweb.audit.models import LedgerEntry

from . import services
from .access import Access, access_of
from .admin_site import may
from .models import ApiToken, Membership, User
from .roles import Permission, Role


class ByRole(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """What the roles allow, whatever Django's own permissions say; nothing is deleted."""

    actions = None
    permission = Permission.MANAGE_ACCOUNTS

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request, self.permission)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.permission)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request, self.permission)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.permission)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SignedForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A form that is one act. The service validates, so it is called while the form is checked:

    inside the transaction that the admin opens for each POST, and nowhere else.
    """

    reason = forms.CharField(max_length=400, help_text="Why; it is kept with the change.")
    access: Access  # set by the admin for each request

    def _post_clean(self) -> None:
        if not self.errors:
            try:
                self.instance = self.write(self.access)
            except ValidationError as refused:
                self._update_errors(refused)  # type: ignore[attr-defined]  # Django's own

    def write(self, access: Access) -> Any:
        """Call the service and return its row."""
        raise NotImplementedError


class SignedAdmin(ByRole):
    """Saves through the form's service."""

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"access": access_of(request)})

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Written already, by the form's service."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing hangs on these rows."""


class PersonForm(SignedForm):
    """A new person, or a change of name, password or standing."""

    password = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least 12 characters. Empty keeps the present one.",
    )

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None:
            self.fields["password"].required = True
            self.fields["password"].help_text = "At least 12 characters."

    def write(self, access: Access) -> User:
        said = self.cleaned_data
        by = access.sign(said["reason"])
        names = {"first_name": said["first_name"], "last_name": said["last_name"]}
        if self.instance.pk is None:
            return services.add_user(
                username=said["username"], password=said["password"], **names, by=by
            )
        user = User.objects.get(pk=self.instance.pk)
        if (user.first_name, user.last_name) != tuple(names.values()):
            services.correct_user(user=user, **names, by=by)
        if said["password"]:
            services.change_password(user=user, password=said["password"], by=by)
        if said["is_active"] and not user.is_active:
            services.reactivate_user(user=user, by=by)
        if user.is_active and not said["is_active"]:
            services.deactivate_user(user=user, by=by)
        return user


@admin.register(User)
class PersonAdmin(SignedAdmin):
    """The people of the clinic, and those who hold no role anywhere yet."""

    form = PersonForm
    list_display = ("username", "last_name", "first_name", "is_active", "last_login")
    search_fields = ("username", "last_name", "first_name")
    fields = ("username", "first_name", "last_name", "password", "is_active", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return User.objects.filter(
            Q(memberships__clinic=access_of(request).clinic) | Q(memberships=None)
        ).distinct()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("username",) if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("username", "first_name", "last_name", "password", "reason")
        if not self.has_change_permission(request, obj):
            return ("username", "first_name", "last_name", "is_active")
        return self.fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A person who works at another clinic too is not this administrator's alone."""
        if obj is not None:
            today = timezone.localdate()
            elsewhere = obj.memberships.exclude(clinic=access_of(request).clinic)
            if elsewhere.filter(Q(until_on=None) | Q(until_on__gte=today)).exists():
                return False
        return super().has_change_permission(request, obj)


class RoleForm(SignedForm):
    """A role given, or the day it ends."""

    class Meta:
        model = Membership
        fields = ("user", "role", "from_on", "until_on")

    def write(self, access: Access) -> Membership:
        said = self.cleaned_data
        by = access.sign(said["reason"])
        if self.instance.pk is None:
            return services.grant_role(
                user=said["user"],
                clinic=access.clinic,
                role=Role(said["role"]),
                from_on=said["from_on"],
                by=by,
            )
        if said["until_on"] is None:
            raise ValidationError({"until_on": "Give the last day on which the role is held."})
        membership = Membership.objects.get(pk=self.instance.pk)
        return services.end_role(membership=membership, until_on=said["until_on"], by=by)


@admin.register(Membership)
class RoleAdmin(SignedAdmin):
    """Who holds which role at this clinic, from when until when."""

    form = RoleForm
    verbose_name_plural = "roles"
    list_display = ("user", "role", "from_on", "until_on")
    list_filter = ("role",)
    search_fields = ("user__username", "user__last_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return Membership.objects.filter(clinic=access_of(request).clinic).select_related("user")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("user", "role", "from_on", "reason")
        return ("user", "role", "from_on", "until_on", "reason")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("user", "role", "from_on") if obj else ()


class RevokeForm(SignedForm):
    """A token made useless."""

    class Meta:
        model = ApiToken
        fields = ()

    def write(self, access: Access) -> ApiToken:
        token = ApiToken.objects.get(pk=self.instance.pk)
        by = access.sign(self.cleaned_data["reason"])
        return services.revoke_token(token=token, at=timezone.now(), by=by)


@admin.register(ApiToken)
class TokenAdmin(SignedAdmin):
    """The clinic's tokens. `manage.py issue_api_token` makes one; saving here ends it."""

    form = RevokeForm
    list_display = ("name", "prefix", "user", "scopes", "expires_at", "revoked_at")
    fields = ("name", "prefix", "user", "scopes", "expires_at", "revoked_at", "reason")
    readonly_fields = fields[:-1]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return ApiToken.objects.filter(clinic=access_of(request).clinic).select_related("user")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.fields if self.has_change_permission(request, obj) else self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and obj.revoked_at:
            return False
        return super().has_change_permission(request, obj)


@admin.register(LedgerEntry)
class LedgerAdmin(ByRole):
    """The clinic's own chain as it is stored; the audit pages say it in words."""

    permission = Permission.READ_AUDIT
    list_display = ("seq", "recorded_at", "act", "actor_name", "role", "channel", "reason")
    list_display_links = ("seq",)
    show_full_result_count = False
    list_per_page = 50
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        chain = f"clinic:{access_of(request).clinic.pk}"
        return LedgerEntry.objects.filter(chain__name=chain).select_related("chain", "actor")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
