"""Writing clinics, people, memberships and tokens."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import date, datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature

from .models import ApiToken, Clinic, Membership, User
from .roles import Role, Scope

TOKEN_PREFIX = "tacro_"  # noqa: S105  # by which scanners know a leaked key


@service("Clinic added")
def add_clinic(*, name: str, time_zone: str = "UTC", by: Signature) -> Clinic:
    """Add a clinic. Raises `ValidationError` for a name in use or an unknown time zone."""
    clinic = Clinic(name=name.strip(), time_zone=time_zone)
    clinic.sign(by).save()
    return clinic


@service("Person added")
def add_user(
    *,
    username: str,
    password: str,
    first_name: str = "",
    last_name: str = "",
    is_staff: bool = False,
    by: Signature,
) -> User:
    """Add a person with a password. Raises `ValidationError` for a weak password or a name in use.

    A name in use is one that differs in the case of letters only, too. `is_staff` opens nothing:
    what may be done in the back office follows the roles.
    """
    if User.objects.filter(username__iexact=username).exists():
        raise ValidationError({"username": "A person with that username already exists."})
    user = User(username=username, first_name=first_name, last_name=last_name, is_staff=is_staff)
    _set_password(user, password)
    user.sign(by).save()
    return user


@service("Person corrected")
def correct_user(*, user: User, first_name: str, last_name: str, by: Signature) -> User:
    """Change the name printed from now on; what was signed keeps the name it was signed with."""
    user.first_name, user.last_name = first_name, last_name
    user.sign(by).save()
    return user


@service("Password changed")
def change_password(*, user: User, password: str, by: Signature) -> User:
    """Give a person another password; other sessions of theirs end.

    Raises `ValidationError` at `password` for a weak one. The act is kept, the password is not.
    """
    _set_password(user, password)
    user.sign(by).save()
    return user


@service("Person deactivated")
def deactivate_user(*, user: User, by: Signature) -> User:
    """Close a person's account: sessions and tokens stop at once; what they signed remains."""
    user.is_active = False
    user.sign(by).save()
    return user


@service("Person activated again")
def reactivate_user(*, user: User, by: Signature) -> User:
    """Open a closed account again."""
    user.is_active = True
    user.sign(by).save()
    return user


@service("Role given")
def grant_role(
    *, user: User, clinic: Clinic, role: Role, from_on: date, by: Signature
) -> Membership:
    """Give a person a role at a clinic from a day on. Raises `ValidationError` if held already."""
    membership = Membership(user=user, clinic=clinic, role=role, from_on=from_on)
    membership.sign(by).save()
    return membership


@service("Role ended")
def end_role(*, membership: Membership, until_on: date, by: Signature) -> Membership:
    """End a membership with a day (the last one it holds)."""
    membership.until_on = until_on
    membership.sign(by).save()
    return membership


@service("API token issued")
def issue_token(
    *,
    user: User,
    clinic: Clinic,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime,
    by: Signature,
) -> tuple[ApiToken, str]:
    """Issue a token; the key is returned once and only its SHA-256 is kept.

    Raises `ValidationError` for no scope or an unknown one.
    """
    key = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        user=user,
        clinic=clinic,
        name=name,
        prefix=key[:12],
        digest=digest_of_key(key),
        scopes=" ".join(sorted(scopes)),
        expires_at=expires_at,
    )
    token.sign(by).save()
    return token, key


@service("API token revoked")
def revoke_token(*, token: ApiToken, at: datetime, by: Signature) -> ApiToken:
    """Make a token useless from now on."""
    token.revoked_at = at
    token.sign(by).save()
    return token


def _set_password(user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as weak:
        raise ValidationError({"password": weak.messages}) from weak
    user.set_password(password)


def digest_of_key(key: str) -> str:
    """What is stored of a token's key. Keys are random, so a plain hash is enough."""
    return hashlib.sha256(key.encode()).hexdigest()
