"""Keeping the tasks of a patient in step with what the protocol asks for."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.core.exceptions import ValidationError

from dosing.models import Assessment, Intent
from dosing.rules.engine import rulebook
from dosing.rules.engine.advice import DueTest
from dosing.rules.engine.facts import TACROLIMUS_LEVEL, CaseFacts
from dosing.rules.engine.trough import troughs
from dosing.rules.loading import engine_book
from dosing.rules.models import RuleBook
from dosing.rules.selectors import approvals_changed, published_version
from dosing.selectors import current_regimen
from dosing.services import advise, assess_patient
from monitoring.models import MonitoringTask, Review, TaskStatus
from monitoring.selectors import by_number, open_tasks
from patients.models import Analyte, FactsVersion, Observation, Patient
from patients.selectors import current_observations
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal

NOT_TAKEN = "Tacrolimus is not taken."
NOT_ASKED = "The protocol no longer asks for it."
NOTE_LENGTH = 300


class TaskClosed(Refusal):
    """The task was done or cancelled already."""

    code = "task_closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample to take, whatever number of statements ask for it."""

    analyte: str
    earliest: date
    due: date
    latest: date
    statements: str

    def overlaps(self, task: MonitoringTask) -> bool:
        """Whether one sample could still answer both."""
        return (
            task.analyte.key == self.analyte
            and task.earliest_on <= self.latest
            and self.earliest <= task.latest_on
        )


def samples(tests: Iterable[DueTest]) -> list[Sample]:
    """The fewest samples that answer all tests: those whose windows share a day are one.

    The window of a sample is what the windows of its tests have in common, so that it answers each.
    """
    together: list[list[DueTest]] = []  # each list has the test whose window closes first in front
    for test in sorted(tests, key=lambda test: (test.analyte, test.latest, test.earliest)):
        for group in together:
            if group[0].analyte == test.analyte and test.earliest <= group[0].latest:
                group.append(test)
                break
        else:
            together.append([test])
    return [_sample(group) for group in together]


def _sample(tests: list[DueTest]) -> Sample:
    earliest = max(test.earliest for test in tests)
    latest = min(test.latest for test in tests)
    statements = {statement for test in tests for statement in test.statements}
    return Sample(
        analyte=tests[0].analyte,
        earliest=earliest,
        due=max(earliest, min(latest, *(test.due for test in tests))),
        latest=latest,
        statements=", ".join(sorted(statements, key=by_number)),
    )


@service("Tasks reviewed")
def review_patient(*, patient: Patient, at: datetime, by: Signature) -> Assessment | None:
    """Bring the tasks of a patient in step with the protocol's due tests at `at`.

    The protocol decides what is due; here due tests become tasks. A task that is no longer asked
    for is done if a result answers it (a sample drawn in its window or later; for tacrolimus one
    that is a trough), else cancelled. What is asked for anew opens a task, or moves an open one
    that the same sample answers. What a person cancelled is not opened again for the same
    statements and day.

    An assessment is stored, and returned, when the patient's facts, the rule book or what the
    clinic has approved of it have changed since the last review or a task opens or moves; a review
    that finds nothing new writes nothing. Who takes no tacrolimus has no tasks: before a start the
    chart shows what the baseline lacks.

    Raises `Refusal` when no rule book is published, and `ValueError` for facts that cannot be.
    """
    at = at.astimezone(patient.clinic.zone)
    # Two reviews of one patient take turns, and no fact changes in between.
    facts, _ = FactsVersion.objects.select_for_update().get_or_create(patient=patient)
    last = Review.objects.filter(patient=patient).first()
    tasks = list(open_tasks(patient))
    assessment = row = None
    if current_regimen(patient) is None:
        for task in tasks:
            _cancel(task, NOT_TAKEN, at=at, by=by)
    else:
        row = published_version()
        book = engine_book(row)
        case, advice = advise(patient, intent=Intent.REVIEW, book=book, at=at)
        tasks, asked = _without_exact(tasks, samples(advice.due_tests))
        tasks = _without_answered(patient, case, book, tasks, asked, at=at, by=by)
        tasks, asked = _without_repeated(tasks, asked, case=case, at=at)
        asked = _without_declined(patient, asked)
        if asked or last is None or _overtaken(last, facts, row):
            assessment = assess_patient(patient=patient, intent=Intent.REVIEW, at=at, by=by)
        if assessment and asked:
            tasks = _open_or_move(patient, tasks, asked, assessment, by=by)
        for task in tasks:
            _cancel(task, NOT_ASKED, at=at, by=by)
    Review.objects.update_or_create(
        patient=patient,
        defaults={
            "clinic": patient.clinic,
            "at": at,
            "facts_version": facts.number,
            "rule_book": row,
            "failure": "",
        },
    )
    return assessment


def _overtaken(last: Review, facts: FactsVersion, book: RuleBook) -> bool:
    """Whether anything that an assessment is made of has changed since the last review."""
    return (last.facts_version, last.rule_book_id) != (facts.number, book.pk) or approvals_changed(
        last.clinic_id, since=last.at
    )


def _without_exact(
    tasks: list[MonitoringTask], asked: list[Sample]
) -> tuple[list[MonitoringTask], list[Sample]]:
    """Leave out the tasks that are asked for just as they stand."""
    stands = {_window(task): task for task in tasks}
    news = [sample for sample in asked if stands.pop(_wanted(sample), None) is None]
    return list(stands.values()), news


def _window(task: MonitoringTask) -> tuple[object, ...]:
    return (task.analyte.key, task.statements, task.earliest_on, task.due_on, task.latest_on)


def _wanted(sample: Sample) -> tuple[object, ...]:
    return (sample.analyte, sample.statements, sample.earliest, sample.due, sample.latest)


def _without_answered(
    patient: Patient,
    case: CaseFacts,
    book: rulebook.RuleBook,
    tasks: list[MonitoringTask],
    asked: list[Sample],
    *,
    at: datetime,
    by: Signature,
) -> list[MonitoringTask]:
    """Close the tasks that a result has answered; the others are returned."""
    if not tasks:
        return tasks
    trough_at = {level.at for level in troughs(case, book, at)}
    results = [
        result
        for result in current_observations(patient).filter(
            analyte__in={task.analyte_id for task in tasks}, drawn_at__lte=at
        )
        if result.analyte.key != TACROLIMUS_LEVEL or result.drawn_at in trough_at
    ]
    results.sort(key=lambda result: result.drawn_at)
    left = []
    for task in tasks:
        answers = [
            result
            for result in results
            if result.analyte_id == task.analyte_id
            and result.drawn_at.astimezone(at.tzinfo).date() >= task.earliest_on
        ]
        later = [result for result in answers if result.drawn_at > task.assessment.at]
        # A result that was known when the test was asked for is at best a late entry. Of a test
        # that is asked for again and again it is rather the cause.
        if not any(_again(sample, task, case=case, at=at) for sample in asked):
            later = later or answers[-1:]
        if later:
            _close(task, later[0], at=at, by=by)
        else:
            left.append(task)
    return left


def _again(sample: Sample, task: MonitoringTask, *, case: CaseFacts, at: datetime) -> bool:
    """Whether the sample is the task once more, so many days from a later day of asking.

    Such a test ("repeat the draw") would otherwise be put off each night and never be overdue.
    After a new dose its day counts from that dose, so then it is another test.
    """
    dose_since = case.regimen.dose_since if case.regimen else None
    today, asked_on = at.date(), task.assessment.at.astimezone(at.tzinfo).date()
    return (
        (task.analyte.key, task.statements) == (sample.analyte, sample.statements)
        and (dose_since is None or dose_since <= task.assessment.at)
        and (sample.earliest - today, sample.due - today)
        == (task.earliest_on - asked_on, task.due_on - asked_on)
    )


def _without_repeated(
    tasks: list[MonitoringTask], asked: list[Sample], *, case: CaseFacts, at: datetime
) -> tuple[list[MonitoringTask], list[Sample]]:
    """Leave out the tasks that are asked for again: they keep the day of the first asking."""
    left, news = list(tasks), []
    for sample in asked:
        task = next((task for task in left if _again(sample, task, case=case, at=at)), None)
        if task:
            left.remove(task)
        else:
            news.append(sample)
    return left, news


def _without_declined(patient: Patient, asked: list[Sample]) -> list[Sample]:
    """Leave out what a person has cancelled for the same statements and day."""
    if not asked:
        return asked
    declined = set(
        MonitoringTask.objects.filter(
            patient=patient, status=TaskStatus.CANCELLED, cancelled_by__isnull=False,
            due_on__in={sample.due for sample in asked},
        ).values_list("analyte__key", "statements", "due_on")
    )  # fmt: skip
    return [
        sample
        for sample in asked
        if (sample.analyte, sample.statements, sample.due) not in declined
    ]


def _open_or_move(
    patient: Patient,
    tasks: list[MonitoringTask],
    asked: list[Sample],
    assessment: Assessment,
    *,
    by: Signature,
) -> list[MonitoringTask]:
    """Write what is asked for; returns the open tasks that are left over."""
    left = list(tasks)
    analytes = {
        analyte.key: analyte
        for analyte in Analyte.objects.filter(key__in={sample.analyte for sample in asked})
    }
    for sample in asked:
        # First the one that it repeats, then any that the same sample answers.
        near = [task for task in left if sample.overlaps(task)]
        near.sort(key=lambda task: task.statements != sample.statements)
        task = near[0] if near else None
        if task is None:
            task = MonitoringTask(
                patient=patient, clinic=patient.clinic, analyte=analytes[sample.analyte]
            )
        else:
            left.remove(task)
        task.statements = sample.statements
        task.earliest_on, task.due_on, task.latest_on = sample.earliest, sample.due, sample.latest
        task.assessment = assessment
        task.sign(by).save()
    return left


def _close(task: MonitoringTask, observation: Observation, *, at: datetime, by: Signature) -> None:
    task.status, task.observation, task.closed_at = TaskStatus.DONE, observation, at
    task.sign(by).save()


def _cancel(task: MonitoringTask, note: str, *, at: datetime, by: Signature) -> None:
    task.status, task.closing_note, task.closed_at = TaskStatus.CANCELLED, note, at
    task.sign(by).save()


@service("Task cancelled")
def cancel_task(*, task: MonitoringTask, at: datetime, by: Signature) -> MonitoringTask:
    """Cancel a test that will not be done, for the reason in `by`; the protocol does not reopen it.

    Raises `ValidationError` without a reason or with one of more than 300 characters, `TaskClosed`
    when the task is not open any more.
    """
    return cancel_tasks(tasks=[task], at=at, by=by)[0]


@service("Tasks cancelled")
def cancel_tasks(
    *, tasks: Collection[MonitoringTask], at: datetime, by: Signature
) -> list[MonitoringTask]:
    """Cancel tests of one patient that will not be done, all for the reason in `by`, or none.

    Each is signed by itself and the protocol reopens none of them. Raises as `cancel_task` does,
    and `ValueError` for tasks of two patients or for none.
    """
    reason = by.reason.strip()
    if not reason:
        raise ValidationError({"reason": "Say why this will not be done."})
    if len(reason) > NOTE_LENGTH:
        raise ValidationError({"reason": f"Say it in {NOTE_LENGTH} characters."})
    (patient,) = {task.patient_id for task in tasks}
    # A review of the patient at the same moment would write the tasks as it read them: one waits.
    FactsVersion.objects.select_for_update().get(patient=patient)
    rows = list(
        MonitoringTask.objects.filter(pk__in=[task.pk for task in tasks])
        .select_related("patient", "analyte", "assessment")
        .order_by("pk")
    )
    if closed := [row for row in rows if row.status != TaskStatus.OPEN]:
        named = ", ".join(f"{row.analyte} ({row.get_status_display().lower()})" for row in closed)
        raise TaskClosed(f"Closed already: {named}. Nothing changed.")
    for row in rows:
        row.cancelled_by_id = by.actor_id
        _cancel(row, reason, at=at, by=by)
    return rows
