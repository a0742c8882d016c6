"""Clinics, people, the roles people hold at clinics, and API tokens."""

from datetime import date
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import ValidationError
from django.db import models

from tacroweb.audit.models import SignedModel, SignedQuerySet, TrackedModel, history_of

from .roles import Role, Scope

UNSIGNED_USER_FIELDS = {"last_login", "password"}


def _valid_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError) as error:
        raise ValidationError("Give a time zone such as Europe/Berlin.") from error


class Clinic(TrackedModel):
    """A clinic: the wall between records. A patient belongs to exactly one."""

    name = models.CharField(max_length=200, unique=True)
    time_zone = models.CharField(max_length=60, default="UTC", validators=[_valid_zone])

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which the clinic's days begin and end."""
        return ZoneInfo(self.time_zone)


class People(UserManager["User"]):
    """Finds people; like every manager of signed rows it refuses to write."""

    use_in_migrations = False

    def get_queryset(self) -> SignedQuerySet["User"]:
        return SignedQuerySet(self.model, using=self._db)


class User(AbstractUser, SignedModel):
    """A person or a program that signs in. Deactivated, never deleted.

    Django itself saves `last_login` at sign-in and re-hashes passwords; those two columns may be
    saved unsigned and are not part of the history.
    """

    objects: ClassVar[UserManager["User"]] = People()  # type: ignore[assignment]
    history = history_of(excluded_fields=["password", "last_login"])

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save signed; `last_login` and `password` alone may be saved by Django's own machinery."""
        fields = kwargs.get("update_fields")
        if self._signature is None and fields and set(fields) <= UNSIGNED_USER_FIELDS:
            self.skip_history_when_saving = True
            try:
                models.Model.save(self, *args, **kwargs)
            finally:
                del self.skip_history_when_saving
            return
        SignedModel.save(self, *args, **kwargs)

    @property
    def display_name(self) -> str:
        """The name printed under what this person signs."""
        return (self.get_full_name() or self.username)[:200]  # as much as evidence rows keep


class Membership(TrackedModel):
    """One role of one person at one clinic, from a day until a day (both included)."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)
    from_on = models.DateField("from")
    until_on = models.DateField("until", null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("user", "clinic", "role"),
                condition=models.Q(until_on__isnull=True),
                name="membership_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(until_on__isnull=True)
                | models.Q(until_on__gte=models.F("from_on")),
                name="membership_until_not_before_from",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} · {self.get_role_display()} · {self.clinic}"

    def holds_on(self, day: date) -> bool:
        """Is the role held on this day of the clinic?"""
        return self.from_on <= day and (self.until_on is None or day <= self.until_on)


class ApiToken(TrackedModel):
    """A key for programs: bound to one person and one clinic; only its digest is stored."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="api_tokens")
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.CharField(max_length=300, help_text="separated by blanks")
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def clean(self) -> None:
        if unknown := set(self.scopes.split()) - set(Scope.values):
            raise ValidationError({"scopes": f"Unknown scope: {', '.join(sorted(unknown))}."})


class FailedPassword(models.Model):
    """A wrong password: for which name and from where. It slows guessing down, nothing more."""

    username = models.CharField(max_length=150)
    address = models.CharField(max_length=45, blank=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=("username", "address", "-at"), name="failed_password"),)

    def __str__(self) -> str:
        return f"{self.username} {self.address} {self.at}"
