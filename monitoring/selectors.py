"""Which tests are due, at which clinic, and whether the looking itself is up to date."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from dosing.models import Regimen
from dosing.selectors import ON_THERAPY
from monitoring.models import MonitoringTask, Review, SweepCause, SweepRun, TaskStatus
from patients.models import Patient
from tacroweb.accounts.models import Clinic

WEEK = timedelta(days=7)
SWEEP_EVERY = timedelta(hours=26)  # nightly, with two hours to run late
STALLED_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many open tasks of a clinic are overdue, to be done today, and due in the next 7 days."""

    overdue: int
    today: int
    week: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worklist:
    """The most urgent open tasks of a clinic that are due within 7 days, longest due first."""

    tasks: tuple[MonitoringTask, ...]
    counts: Counts

    @property
    def more(self) -> int:
        """How many due tasks are not in `tasks`."""
        return self.counts.overdue + self.counts.today + self.counts.week - len(self.tasks)


def tasks_of(clinic: Clinic) -> QuerySet[MonitoringTask]:
    """All tasks of the clinic's patients, with patient, analyte and assessment."""
    return MonitoringTask.objects.filter(clinic=clinic).select_related(
        "patient", "analyte", "assessment"
    )


def overdue(today: date) -> Q:
    """Open tasks whose window has passed."""
    # `due_on` is implied by the window's order; it is here for the index.
    return Q(status=TaskStatus.OPEN, due_on__lt=today, latest_on__lt=today)


def due_today(today: date) -> Q:
    """Open tasks that are due by today and still within their window."""
    return Q(status=TaskStatus.OPEN, due_on__lte=today, latest_on__gte=today)


def due_this_week(today: date) -> Q:
    """Open tasks that are due in the 7 days after today."""
    return Q(status=TaskStatus.OPEN, due_on__gt=today, due_on__lte=today + WEEK)


def open_tasks(patient: Patient) -> QuerySet[MonitoringTask]:
    """The patient's open tasks, longest due first."""
    return (
        MonitoringTask.objects.filter(patient=patient, status=TaskStatus.OPEN)
        .select_related("analyte", "assessment")
        .order_by("due_on", "latest_on", "pk")
    )


def counts(clinic: Clinic, *, today: date) -> Counts:
    """The clinic's due tasks in one query."""
    found = MonitoringTask.objects.filter(
        clinic=clinic, status=TaskStatus.OPEN, due_on__lte=today + WEEK
    ).aggregate(
        overdue=Count("pk", filter=overdue(today)),
        today=Count("pk", filter=due_today(today)),
        week=Count("pk", filter=due_this_week(today)),
    )
    return Counts(**found)


def worklist(clinic: Clinic, *, today: date, limit: int = 50) -> Worklist:
    """What the clinic must do next, in two queries whatever the number of patients and tasks."""
    due = (
        tasks_of(clinic)
        .filter(status=TaskStatus.OPEN, due_on__lte=today + WEEK)
        .order_by("due_on", "patient_id", "pk")
    )
    return Worklist(tasks=tuple(due[:limit]), counts=counts(clinic, today=today))


def last_sweep() -> SweepRun | None:
    """The newest nightly sweep, finished or not."""
    return SweepRun.objects.filter(cause=SweepCause.NIGHT).order_by("-started_at").first()


def stalled_sweeps(at: datetime) -> QuerySet[SweepRun]:
    """Sweeps under changed rules that nobody is at: message lost, or worker ended."""
    return SweepRun.objects.filter(
        cause=SweepCause.RULES, finished_at=None, moved_at__lt=at - STALLED_AFTER
    ).order_by("pk")


def sweep_missed(run: SweepRun | None, *, at: datetime) -> bool:
    """Whether no sweep has finished within the last night: as serious as one that failed."""
    return run is None or run.finished_at is None or at - run.finished_at > SWEEP_EVERY


def review_failure(patient: Patient) -> str:
    """Why the tasks could not be compared with the protocol the last time; "" if they could."""
    review = Review.objects.filter(patient=patient).only("failure").first()
    return review.failure if review else ""


def failed_reviews(clinic: Clinic) -> QuerySet[Review]:
    """The clinic's patients whose tasks could not be brought up to date."""
    return (
        Review.objects.filter(clinic=clinic, failure__gt="")  # "> nothing" reads the index
        .select_related("patient")
        .order_by("at")
    )


def due_for_review(clinic: Clinic, *, since: datetime) -> QuerySet[Patient]:
    """Who takes tacrolimus or has open tasks and was not reviewed, on these facts, since then."""
    reviewed = Review.objects.filter(
        patient=OuterRef("pk"),
        failure="",
        at__gte=since,
        facts_version=OuterRef("facts_version__number"),
    )
    taking = Regimen.objects.filter(patient=OuterRef("pk"), status__in=ON_THERAPY)
    waiting = MonitoringTask.objects.filter(patient=OuterRef("pk"), status=TaskStatus.OPEN)
    return (
        Patient.objects.filter(Exists(taking) | Exists(waiting), clinic=clinic)
        .exclude(Exists(reviewed))
        .order_by("pk")
    )
