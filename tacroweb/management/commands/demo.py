"""`manage.py demo`: two fictional clinics with people and patients, to be looked at and tried."""

import os
import secrets
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, call_command
from django.db import transaction
from django.utils import timezone

from dosing.rules.models import RuleBook, RuleBookStatus
from monitoring.apps import LISTENER
from monitoring.tasks import nightly_sweep, review_after_change
from patients.models import Analyte, Patient
from patients.selectors import analytes
from patients.signals import patient_changed
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.accounts.services import add_clinic, add_user, grant_role
from tacroweb.audit.signature import Channel, Signature
from tacroweb.management.stories import STORIES_BEGAN, Team, tell_first, tell_second

FIRST, SECOND = "Lindenhof Lung Clinic (fictional)", "Northgate Chest Clinic (fictional)"
PEOPLE = (
    ("prescriber", "Dr R.", "Sato", Role.PRESCRIBER, FIRST),
    ("pharmacist", "M.", "Oyelaran", Role.PHARMACIST, FIRST),
    ("nurse", "J.", "Lindgren", Role.NURSE, FIRST),
    ("rule-editor", "Dr A.", "Castellanos", Role.RULE_EDITOR, FIRST),
    ("rule-approver", "Prof. H.", "Weiss", Role.RULE_APPROVER, FIRST),
    ("auditor", "K.", "Bianchi", Role.AUDITOR, FIRST),
    ("admin", "T.", "Novotny", Role.ADMINISTRATOR, FIRST),
    ("prescriber2", "Dr E.", "Pritchard", Role.PRESCRIBER, SECOND),
)
STAFF = {"admin", "rule-editor"}


class Command(BaseCommand):
    help = (
        "Fill an empty database with two fictional clinics and print the logins. The password is "
        "DEMO_PASSWORD, or made and kept in the data folder. Running it again changes nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not is_demo():
            self._refuse_foreign_database()
            password = os.environ.get("DEMO_PASSWORD") or secrets.token_urlsafe(12)
            _fill(password, now=timezone.now())
            _keep(password)
        self._print_logins()

    def _refuse_foreign_database(self) -> None:
        filled = any(model.objects.exists() for model in (User, Clinic, Patient))
        if filled and not settings.DEBUG:
            raise CommandError(
                "This database is not empty and is not a demonstration's: nothing was written. "
                "Set TACROWEB_VAR to a new folder, or DATABASE_URL to an empty database."
            )

    def _print_logins(self) -> None:
        self.stdout.write("Sign in as:")
        for username, first, last, role, clinic in PEOPLE:
            self.stdout.write(f"  {username:<14} {first} {last}, {role.label}, {clinic}")
        try:
            self.stdout.write(f"Password: {_kept().read_text().strip()}")
        except OSError:
            self.stdout.write("The password is the one that was set when the clinics were made.")


def is_demo() -> bool:
    """Whether this database is a demonstration's own: started as one, with its clinics in it."""
    ours = Clinic.objects.filter(name__in=(FIRST, SECOND)).count() == 2
    if ours and not (settings.DEMO or settings.DEBUG):
        raise CommandError(
            "This database holds the fictional clinics, but TacroWeb was not started as a "
            "demonstration (TACROWEB_DEMO=1): nothing was written."
        )
    return ours


def _fill(password: str, *, now: datetime) -> None:
    """Everything or nothing, in one transaction: a demonstration is never half there."""
    if not Analyte.objects.exists():
        call_command("seed_vocabulary", verbosity=0)
    if not RuleBook.objects.filter(status=RuleBookStatus.PUBLISHED).exists():
        call_command("seed_rules", verbosity=0)
    # The listener reviews by the real clock; the stories review each act at its own time.
    patient_changed.disconnect(dispatch_uid=LISTENER)
    try:
        with transaction.atomic():
            _people_and_patients(password, now=now)
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    finally:
        patient_changed.connect(review_after_change, dispatch_uid=LISTENER)
    nightly_sweep(channel=Channel.COMMAND)


def _people_and_patients(password: str, *, now: datetime) -> None:
    by = Signature.system(channel=Channel.COMMAND, reason="Demonstration with invented people")
    clinics = {
        FIRST: add_clinic(name=FIRST, time_zone="Europe/Berlin", by=by),
        SECOND: add_clinic(name=SECOND, time_zone="Europe/London", by=by),
    }
    since = (now - timedelta(days=STORIES_BEGAN)).date()
    hands: dict[str, Callable[[], Signature]] = {}
    for username, first, last, role, clinic in PEOPLE:
        user = add_user(
            username=username,
            password=password,
            first_name=first,
            last_name=last,
            is_staff=username in STAFF,
            by=by,
        )
        hands[username] = _hand(user, role, clinics[clinic], since=since, by=by)
    known = {analyte.key: analyte for analyte in analytes()}
    first_team = Team(
        clinic=clinics[FIRST],
        prescriber=hands["prescriber"],
        nurse=hands["nurse"],
        analytes=known,
        now=now,
    )
    tell_first(first_team)
    alone = hands["prescriber2"]
    tell_second(
        Team(clinic=clinics[SECOND], prescriber=alone, nurse=alone, analytes=known, now=now)
    )


def _hand(
    user: User, role: Role, clinic: Clinic, *, since: date, by: Signature
) -> Callable[[], Signature]:
    """Give the role; the person's hand, with a request of its own for each act."""
    clinic_by = Signature.system(channel=by.channel, reason=by.reason, clinic_id=clinic.pk)
    grant_role(user=user, clinic=clinic, role=role, from_on=since, by=clinic_by)

    def sign() -> Signature:
        return Signature(
            actor_id=user.pk,
            actor_name=user.display_name,
            role=role.label,
            clinic_id=clinic.pk,
            channel=Channel.COMMAND,
            request_id=str(uuid4()),
        )

    return sign


def _kept() -> Any:
    return settings.VAR_DIR / "demo-password"


def _keep(password: str) -> None:
    """Keep the password where `manage.py up` looks for it, for the owner's eyes only."""
    settings.VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    _kept().unlink(missing_ok=True)
    with os.fdopen(os.open(_kept(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password + "\n")
