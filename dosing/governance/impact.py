"""What a rule book under review would change for the patients on tacrolimus today."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from dosing.case import case_of
from dosing.models import ImpactDifference, ImpactRun, Intent
from dosing.rules import casefile
from dosing.rules.engine import rulebook
from dosing.rules.engine.advice import Advice
from dosing.rules.engine.assess import assess
from dosing.rules.loading import engine_book
from dosing.rules.models import RuleBook, RuleBookStatus
from dosing.rules.selectors import published_version
from dosing.rules.services import content_sha256, publish_book
from dosing.selectors import ON_THERAPY
from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal

BATCH = 200
STALLED_AFTER = timedelta(minutes=2)


class ImpactNotSeen(Refusal):
    """The book as it stands has no finished impact list, so nobody can have looked at it."""

    code = "impact_not_seen"


def patients_on_tacrolimus() -> QuerySet[Patient]:
    """Every patient of the installation who is on tacrolimus, active or held."""
    return Patient.objects.filter(regimens__status__in=ON_THERAPY).select_related("clinic")


def start_impact(*, book: RuleBook, at: datetime, asked_by: str) -> ImpactRun:
    """Ask for the impact of a draft or a book in review against the one in force.

    Only asked for here: `continue_impact` computes it. Raises `NoPublishedBook`.
    """
    return ImpactRun.objects.create(
        book=book,
        book_sha256=content_sha256(book),
        against=published_version(),
        asked_by=asked_by,
        started_at=at,
        moved_at=at,
        patients=patients_on_tacrolimus().count(),
    )


def continue_impact(run_id: int, *, at: datetime) -> bool:
    """The next batch of patients of a run, each under both books; whether there is more to do.

    A batch and the place it ends at are written together, and only by the one who still finds the
    run where the batch began: a message that is delivered twice counts nobody twice. A patient
    whose facts cannot be read stops nobody. A book that was edited since ends the run: what it
    would say is no longer of that book.
    """
    run = ImpactRun.objects.select_related("book", "against").get(pk=run_id)
    if run.finished_at is not None:
        return False
    batch = list(patients_on_tacrolimus().filter(pk__gt=run.last_patient).order_by("pk")[:BATCH])
    failures = ""
    found = []
    if content_sha256(run.book) != run.book_sha256:
        failures, batch = "The rule book was edited meanwhile: ask for its impact again.\n", []
    else:
        old, new = engine_book(run.against), engine_book(run.book)
        for patient in batch:
            try:
                sides = differences(patient, old=old, new=new, at=at)
            except ValueError as error:
                failures += f"patient {patient.pk}: {error}\n"
                continue
            if sides:
                found.append(
                    ImpactDifference(
                        run=run,
                        patient=patient,
                        clinic=patient.clinic,
                        text=json.dumps(sides, ensure_ascii=False),
                    )
                )
    more = len(batch) == BATCH
    with transaction.atomic():
        moved = ImpactRun.objects.filter(
            pk=run.pk, last_patient=run.last_patient, finished_at=None
        ).update(
            last_patient=batch[-1].pk if batch else run.last_patient,
            done=F("done") + len(batch),
            failures=run.failures + failures,
            moved_at=at,
            finished_at=None if more else at,
        )
        if moved:
            ImpactDifference.objects.bulk_create(found)
    return bool(moved) and more


def differences(
    patient: Patient, *, old: rulebook.RuleBook, new: rulebook.RuleBook, at: datetime
) -> dict[str, Any] | None:
    """What each book says of the patient that the other does not; None where they say the same.

    Raises ValueError for facts that cannot be.
    """
    local = at.astimezone(patient.clinic.zone)
    sides = []
    for book in (old, new):
        case = case_of(patient, intent=Intent.REVIEW, book=book, at=at)
        sides.append(_said(assess(case, book, at=local)))
    before, after = sides
    if before == after:
        return None
    return {"old": _lacking(before, after), "new": _lacking(after, before)}


def _said(advice: Advice) -> dict[str, Any]:
    """The advice without the name of its book: what a prescriber would read and do."""
    said = casefile.encode_advice(advice)
    for finding in said["findings"]:
        del finding["inputs"]
    return {key: said[key] for key in ("outcome", "proposal", "findings", "due_tests")}


def _lacking(said: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Outcome and proposal as they are, findings and due tests that the other side lacks."""
    return {
        "outcome": said["outcome"],
        "proposal": said["proposal"],
        "findings": [each for each in said["findings"] if each not in other["findings"]],
        "due_tests": [each for each in said["due_tests"] if each not in other["due_tests"]],
    }


def newest_impact(book: RuleBook) -> ImpactRun | None:
    """The last impact that was asked for of this book."""
    return ImpactRun.objects.filter(book=book).select_related("against").order_by("-pk").first()


def seen_impact(book: RuleBook) -> ImpactRun | None:
    """The finished impact of the book as it stands, against the book that is in force."""
    run = newest_impact(book)
    if run is None or run.finished_at is None or run.book_sha256 != content_sha256(book):
        return None
    return run if run.against.status == RuleBookStatus.PUBLISHED else None


def named_differences(run: ImpactRun, clinic: Clinic) -> QuerySet[ImpactDifference]:
    """The differences of the clinic's own patients, who may be named there."""
    return (
        run.differences.filter(clinic=clinic)
        .select_related("patient")
        .order_by("patient__family_name", "patient__given_name", "pk")
    )


def differing_elsewhere(run: ImpactRun, clinic: Clinic) -> int:
    """How many patients of other clinics would get another advice: counted, never named."""
    return run.differences.exclude(clinic=clinic).count()


def stalled_runs(at: datetime) -> QuerySet[ImpactRun]:
    """Runs that nobody is at any more: their message was lost, or their worker ended."""
    return ImpactRun.objects.filter(Q(finished_at=None) & Q(moved_at__lt=at - STALLED_AFTER))


@service("Rule book approved")
def approve_book(*, book: RuleBook, at: datetime, by: Signature) -> RuleBook:
    """Publish a book whose impact was there to be seen.

    Raises `ImpactNotSeen` and whatever `publish_book` raises.
    """
    if book.status == RuleBookStatus.IN_REVIEW and seen_impact(book) is None:
        raise ImpactNotSeen(
            "Compute the impact of this rule book first: its approval says that you have seen "
            "what it changes for the patients on tacrolimus."
        )
    return publish_book(book=book, at=at, by=by)
