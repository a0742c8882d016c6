"""The brake on guessing passwords: a few wrong ones, and that name waits at that address.

Failures are rows, for the database is the one thing that all web processes share. Nobody else at
the same address has to wait, so that no guesser locks a clinic out; an address that a client may
claim for itself (X-Forwarded-For) counts for nothing.
"""

import logging
from datetime import timedelta
from math import ceil

from django.core.exceptions import ValidationError
from django.utils import timezone

from .models import FailedPassword, User

MOST = 10
WINDOW = timedelta(minutes=15)
KEPT = timedelta(days=90)
SIGNED_IN = ""  # in the place of an address, where a signed-in person gives the password again

log = logging.getLogger(__name__)


def refuse_guessing(username: str, address: str) -> None:
    """Raises `ValidationError` (code "braked") saying how long to wait, after `MOST` failures
    within `WINDOW`, before the password is looked at. Unknown names wait like known ones."""
    at = timezone.now()
    failures = FailedPassword.objects.filter(
        username=_known_as(username), address=address, at__gt=at - WINDOW
    ).order_by("-at")
    if latest := list(failures[MOST - 1 : MOST]):
        minutes = ceil((latest[0].at + WINDOW - at) / timedelta(minutes=1))
        wait = "a minute" if minutes <= 1 else f"{minutes} minutes"
        raise ValidationError(
            f"Too many wrong passwords were given. Wait {wait}, then try again.", code="braked"
        )


def note_failure(username: str, address: str) -> None:
    """Keep that a wrong password was given; what is older than `KEPT` goes."""
    # Not the name: people type a password there by mistake.
    log.warning("A wrong password was given at %s.", address or "a session")
    at = timezone.now()
    FailedPassword.objects.create(username=_known_as(username), address=address, at=at)
    FailedPassword.objects.filter(at__lt=at - KEPT).delete()


def is_own_password(user: User, password: str) -> bool:
    """Whether a signed-in person gives the own password; raises as `refuse_guessing`."""
    refuse_guessing(user.username, SIGNED_IN)
    if user.check_password(password):
        return True
    note_failure(user.username, SIGNED_IN)
    return False


def _known_as(username: str) -> str:
    return username.casefold()[:150]  # as much as the column holds: a form takes more
