"""Which tests are due, at which clinic, and whether the looking itself is up to date."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet

from dosing.models import Regimen
from dosing.rules.engine.facts import TACROLIMUS_LEVEL
from dosing.selectors import ON_THERAPY
from monitoring.models import MonitoringTask, Review, SweepCause, SweepRun, TaskStatus
from patients.models import Patient
from patients.vocabulary import PANELS
from tacroweb.accounts.models import Clinic

WEEK = timedelta(days=7)
SWEEP_EVERY = timedelta(hours=26)  # nightly, with two hours to run late
STALLED_AFTER = timedelta(minutes=2)


_PANEL_OF = {key: panel for panel, keys in PANELS.items() for key in keys}
_REPORT_ORDER = {key: place for place, key in enumerate(_PANEL_OF)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Open tests of one patient that can be done on one day, in the order of a report.

    A trough is a visit of its own, because it has its own time of draw; `same_day` is then the
    first and last day on which it can be drawn together with other tests, None where there is none.
    """

    tests: tuple[MonitoringTask, ...]
    same_day: tuple[date, date] | None = None

    @property
    def patient(self) -> Patient:
        """Whose tests they are."""
        return self.tests[0].patient

    @property
    def due_on(self) -> date:
        """The day on which the first of the tests is due."""
        return min(test.due_on for test in self.tests)

    @property
    def latest_on(self) -> date:
        """The day after which the first of the tests is overdue."""
        return min(test.latest_on for test in self.tests)

    @property
    def together_on(self) -> date:
        """The first day on which all of the tests may be done."""
        return max(test.earliest_on for test in self.tests)

    @property
    def statements(self) -> str:
        """The statements that ask for the tests, in order."""
        asking = {statement for test in self.tests for statement in test.why}
        return ", ".join(sorted(asking, key=by_number))

    @property
    def query(self) -> str:
        """The tests as the page that cancels them takes them."""
        return urlencode([("task", test.pk) for test in self.tests])

    @property
    def words(self) -> str:
        """What to order: a panel by its name where several of its tests are due."""
        panels: dict[str, dict[str, str]] = {}
        for test in self.tests:
            key = test.analyte.key
            panels.setdefault(panel_of(key) or key, {})[key] = test.analyte.name
        return " · ".join(
            panel if len(names) > 1 else next(iter(names.values()))
            for panel, names in panels.items()
        )


def panel_of(analyte: str) -> str:
    """What the analyte of this key is usually measured with; "" where the vocabulary has none."""
    return _PANEL_OF.get(analyte, "")


def by_number(statement: str) -> tuple[int, str]:
    """The sort key of a statement: S9 before S29."""
    digits = re.search(r"[0-9]+", statement)
    return (int(digits.group()) if digits else 0, statement)


def visits(tasks: Iterable[MonitoringTask], *, today: date) -> tuple[Visit, ...]:
    """The fewest visits at which the open tasks can be done, first due patients first.

    Tests of one patient whose windows share a day are one visit. A test that is overdue can be
    done today, so whatever may be done today is done with it. Nothing is read but the tasks.
    """
    by_patient: dict[int, list[MonitoringTask]] = {}
    for task in tasks:
        by_patient.setdefault(task.patient_id, []).append(task)
    found = [
        sorted(_visits(own, today), key=lambda visit: (visit.due_on, visit.tests[0].pk))
        for own in by_patient.values()
    ]
    found.sort(key=lambda own: (own[0].due_on, own[0].tests[0].patient_id))
    return tuple(visit for own in found for visit in own)


def _visits(tasks: list[MonitoringTask], today: date) -> list[Visit]:
    together: list[list[MonitoringTask]] = []  # each list has the task that closes first in front
    troughs = [task for task in tasks if task.analyte.key == TACROLIMUS_LEVEL]
    others = [task for task in tasks if task.analyte.key != TACROLIMUS_LEVEL]
    for task in sorted(others, key=lambda task: (_last_on(task, today), task.earliest_on, task.pk)):
        for group in together:
            if task.earliest_on <= _last_on(group[0], today):
                group.append(task)
                break
        else:
            together.append([task])
    found = [
        Visit(tests=tuple(sorted(group, key=lambda task: _in_report(task.analyte.key))))
        for group in together
    ]
    return found + [
        Visit(tests=(trough,), same_day=_same_day(trough, found, today)) for trough in troughs
    ]


def _last_on(task: MonitoringTask | Visit, today: date) -> date:
    """The last day on which it can still be done: an overdue test, today."""
    return max(task.latest_on, today)


def _in_report(analyte: str) -> tuple[int, str]:
    return (_REPORT_ORDER.get(analyte, len(_REPORT_ORDER)), analyte)


def _same_day(trough: MonitoringTask, others: list[Visit], today: date) -> tuple[date, date] | None:
    """The days on which the trough can be drawn at the first visit that allows it."""
    for visit in others:
        first = max(visit.together_on, trough.earliest_on, today)
        last = min(_last_on(visit, today), _last_on(trough, today))
        if first <= last:
            return first, last
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many patients of a clinic have a test overdue, to be done today, due in the next 7 days.

    A patient may be in all three; `patients` counts everyone once.
    """

    overdue: int
    today: int
    week: int
    patients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worklist:
    """The visits due within 7 days of the patients who are due longest."""

    visits: tuple[Visit, ...]
    counts: Counts

    @property
    def more(self) -> int:
        """How many patients have a test due and are not in `visits`."""
        return self.counts.patients - len({visit.tests[0].patient_id for visit in self.visits})


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
        .select_related("patient", "analyte", "assessment")
        .order_by("due_on", "latest_on", "pk")
    )


def due_within_a_week(today: date) -> Q:
    """All open tasks that are overdue, due today, or due in the 7 days after today."""
    return Q(status=TaskStatus.OPEN, due_on__lte=today + WEEK)


def counts(clinic: Clinic, *, today: date) -> Counts:
    """The clinic's patients with due tests in one query."""
    found = MonitoringTask.objects.filter(due_within_a_week(today), clinic=clinic).aggregate(
        overdue=Count("patient", filter=overdue(today), distinct=True),
        today=Count("patient", filter=due_today(today), distinct=True),
        week=Count("patient", filter=due_this_week(today), distinct=True),
        patients=Count("patient", distinct=True),
    )
    return Counts(**found)


def patients_with(clinic: Clinic, which: Q) -> QuerySet[MonitoringTask, int]:
    """The numbers of the clinic's patients who have such tasks, longest due first."""
    return (
        MonitoringTask.objects.filter(which, clinic=clinic)
        .values("patient_id")
        .annotate(first=Min("due_on"))
        .order_by("first", "patient_id")
        .values_list("patient_id", flat=True)
    )


def _open_of(clinic: Clinic) -> QuerySet[MonitoringTask]:
    """The clinic's open tasks without the assessments, each of which is as large as a case."""
    return MonitoringTask.objects.filter(clinic=clinic, status=TaskStatus.OPEN).select_related(
        "patient", "analyte"
    )


def visits_with(
    clinic: Clinic, which: Q, *, patients: Collection[int], today: date
) -> tuple[Visit, ...]:
    """The visits of these patients at which such a task is to be done, each whole."""
    waiting = _open_of(clinic).filter(patient__in=patients)
    wanted = set(waiting.filter(which).values_list("pk", flat=True))
    return tuple(
        visit
        for visit in visits(waiting, today=today)
        if any(test.pk in wanted for test in visit.tests)
    )


def worklist(clinic: Clinic, *, today: date, limit: int = 25) -> Worklist:
    """What the clinic must do next, in two queries whatever the number of patients and tasks.

    `limit` is a number of patients. A visit is shown whole, with tests that are due later but can
    be done with the others.
    """
    first = patients_with(clinic, due_within_a_week(today))[:limit]
    found = visits(_open_of(clinic).filter(patient__in=first), today=today)
    return Worklist(
        visits=tuple(visit for visit in found if visit.due_on <= today + WEEK),
        counts=counts(clinic, today=today),
    )


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
