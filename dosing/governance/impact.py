"""What a rule book under review would change for the patients on tacrolimus today."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from dosing.case import case_of, reads_alike
from dosing.models import ImpactDifference, ImpactRun, Intent, Regimen
from dosing.rules import casefile
from dosing.rules.engine import rulebook
from dosing.rules.engine.advice import Advice
from dosing.rules.engine.assess import assess
from dosing.rules.engine.facts import CaseFacts, LocalApproval
from dosing.rules.loading import NoRuleBook, engine_book
from dosing.rules.models import OPEN, RuleBook, RuleBookStatus
from dosing.rules.selectors import local_approvals, published_version
from dosing.rules.services import content_sha256, locked_books, publish_book
from dosing.selectors import ON_THERAPY
from patients.models import Patient
from patients.selectors import records_of
from tacroweb.accounts.access import Access
from tacroweb.accounts.roles import Permission
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal

BATCH = 200
STALLED_AFTER = timedelta(minutes=2)


# How a failure begins that lies with the new book and not with a patient's facts.
UNFIT = "This rule book cannot be applied:"


class ImpactNotSeen(Refusal):
    """The book as it stands has no finished impact list, so nobody can have looked at it."""

    code = "impact_not_seen"


class ImpactSettled(Refusal):
    """The book is decided: its impact stays as it was when that was done."""

    code = "impact_settled"


def courses() -> QuerySet[Regimen]:
    """Every course of tacrolimus of the installation that runs, active or held; one a patient."""
    return Regimen.objects.filter(status__in=ON_THERAPY)


def start_impact(*, book: RuleBook, at: datetime, asked_by: str) -> ImpactRun:
    """Ask for the impact of a draft or a book in review against the one in force.

    Only asked for here: `continue_impact` computes it. Raises `NoPublishedBook`, `NoRuleBook` for a
    draft that contradicts itself, and `ImpactSettled` for a book that is decided.
    """
    if book.status not in OPEN:
        raise ImpactSettled(
            f"Rule book {book} is {book.get_status_display().lower()}: its impact stays as it was "
            "when that was decided."
        )
    return ImpactRun.objects.create(
        book=book,
        book_sha256=content_sha256(book),
        against=published_version(),
        asked_by=asked_by,
        started_at=at,
        moved_at=at,
        patients=courses().count(),
    )


def continue_impact(run_id: int, *, at: datetime) -> bool:
    """The next batch of patients of a run, each under both books; whether there is more to do.

    A batch and the place it ends at are written together, and only by the one who still finds the
    run where the batch began: a message that is delivered twice counts nobody twice. A patient
    whose facts cannot be read stops nobody. A book that was edited or decided since ends the run:
    what it would say is no longer of that book, or of no use to anybody.
    """
    run = ImpactRun.objects.select_related("book", "against").get(pk=run_id)
    if run.finished_at is not None:
        return False
    batch: list[Regimen] = []
    found: list[ImpactDifference] = []
    cut_short = _cut_short(run)
    if not cut_short:
        batch = list(
            courses()
            .filter(patient__gt=run.last_patient)
            .order_by("patient")
            .select_related("patient__clinic", "patient__diagnosis")
            .prefetch_related("orders")[:BATCH]
        )
        for patient, sides in _compared(
            batch, old=engine_book(run.against), new=engine_book(run.book), at=at
        ):
            if sides is not None:
                said = (
                    {"failure": sides}
                    if isinstance(sides, str)
                    else {"text": json.dumps(sides, ensure_ascii=False)}
                )
                found.append(
                    ImpactDifference(run=run, patient=patient, clinic=patient.clinic, **said)
                )
    more = len(batch) == BATCH
    with transaction.atomic():
        still = ImpactRun.objects.select_for_update().filter(
            pk=run.pk, last_patient=run.last_patient, finished_at=None
        )
        if not still:
            return False
        ImpactDifference.objects.bulk_create(found)
        still.update(
            last_patient=batch[-1].patient_id if batch else run.last_patient,
            done=F("done") + len(batch),
            cut_short=cut_short,
            moved_at=at,
            finished_at=None if more else at,
        )
    return more


def _cut_short(run: ImpactRun) -> str:
    """Why a run ends before its last patient; nothing where it may go on."""
    if run.book.status not in OPEN:
        return f"The rule book was {run.book.get_status_display().lower()} meanwhile."
    edited = "The rule book was edited meanwhile: compute its impact again."
    return edited if _edited(run, run.book) else ""


def _edited(run: ImpactRun, book: RuleBook) -> bool:
    """Whether the book says something else than when the run was asked for, or nothing any more."""
    try:
        return content_sha256(book) != run.book_sha256
    except NoRuleBook:
        return True


def _compared(
    batch: Sequence[Regimen], *, old: rulebook.RuleBook, new: rulebook.RuleBook, at: datetime
) -> Iterator[tuple[Patient, dict[str, Any] | str | None]]:
    """Each patient with what one book says and the other does not: None where they say the same,
    and a sentence for facts that cannot be. A number of queries that does not grow with the batch,
    but for inhibitors that were once planned."""
    records = records_of([course.patient for course in batch])
    alike = reads_alike(old, new)
    approved: dict[tuple[str, int], tuple[LocalApproval, ...]] = {}
    for course in batch:
        patient, clinic = course.patient, course.patient.clinic
        local = at.astimezone(clinic.zone)
        said, cases = [], list[CaseFacts]()
        try:
            for book in (old, new):
                key = (book.version, clinic.pk)
                if key not in approved:
                    approved[key] = local_approvals(clinic, book=book, at=at)
                if alike and cases and cases[0].local_approvals == approved[key]:
                    case = cases[0]
                else:
                    case = case_of(
                        patient,
                        intent=Intent.REVIEW,
                        book=book,
                        record=records[patient.pk],
                        regimen=course,
                        approvals=approved[key],
                        at=at,
                    )
                cases.append(case)
                said.append(_said(assess(case, book, at=local)))
        except (ValueError, ArithmeticError) as error:
            # Under the book in force it could be assessed: then it is the new one that cannot be.
            yield patient, f"{UNFIT} {error}" if said else str(error)
            continue
        before, after = said
        if before == after:
            yield patient, None
        else:
            yield patient, {"old": _lacking(before, after), "new": _lacking(after, before)}


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
    if run is None or run.finished_at is None or run.cut_short:
        return None
    if _edited(run, book):
        return None
    return run if run.against.status == RuleBookStatus.PUBLISHED else None


def may_name(access: Access) -> bool:
    """Whether patients may be named to them: who weighs the book, and who reads charts anyway."""
    weighing = (Permission.EDIT_RULES, Permission.APPROVE_RULES, Permission.READ_PATIENTS)
    return any(access.can(each) for each in weighing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactCounts:
    """How many patients would get another advice, of the reader's clinic and of the others, and how
    many could not be assessed, of all."""

    own: int
    elsewhere: int
    failed: int

    @property
    def differing(self) -> int:
        return self.own + self.elsewhere


def impact_counts(run: ImpactRun, access: Access) -> ImpactCounts:
    """The counts for one reader. For those who may not be told names all patients are others'."""
    own = Q(failure="", clinic=access.clinic) if may_name(access) else Q(pk__in=())
    found = run.differences.aggregate(
        own=Count("pk", filter=own),
        differing=Count("pk", filter=Q(failure="")),
        failed=Count("pk", filter=~Q(failure="")),
    )
    return ImpactCounts(
        own=found["own"], elsewhere=found["differing"] - found["own"], failed=found["failed"]
    )


def named_differences(run: ImpactRun, access: Access) -> QuerySet[ImpactDifference]:
    """Their own clinic's patients, those first who could not be assessed; none for those who only
    read the rules."""
    named = run.differences.filter(clinic=access.clinic)
    return (
        (named if may_name(access) else named.none())
        .select_related("patient")
        .order_by("-failure", "patient__family_name", "patient__given_name", "pk")
    )


def stalled_runs(at: datetime) -> QuerySet[ImpactRun]:
    """Runs that nobody is at any more: their message was lost, or their worker ended."""
    return ImpactRun.objects.filter(Q(finished_at=None) & Q(moved_at__lt=at - STALLED_AFTER))


@service("Rule book approved")
def approve_book(*, book: RuleBook, at: datetime, by: Signature) -> RuleBook:
    """Publish a book whose impact was there to be seen.

    Raises `ImpactNotSeen` and whatever `publish_book` raises.
    """
    # Locked first: of two who approve at once the second hears that the book is in force.
    stored = locked_books()[book.pk]
    if stored.status == RuleBookStatus.IN_REVIEW:
        run = seen_impact(stored)
        if run is None:
            raise ImpactNotSeen(
                "Compute the impact of this rule book first: its approval says that you have seen "
                "what it changes for the patients on tacrolimus."
            )
        if run.differences.filter(failure__startswith=UNFIT).exists():
            raise ImpactNotSeen(
                "Some patients cannot be assessed under this rule book: its impact names why. Give "
                "it back, so that its numbers are mended."
            )
    return publish_book(book=stored, at=at, by=by)
