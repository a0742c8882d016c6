"""How often each test comes back while tacrolimus is taken: S25, S26, S29-S35, D1-D11."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from math import ceil
from typing import NamedTuple

from dosing.rules.engine import qt
from dosing.rules.engine.advice import DueTest, Finding, next_test, raised
from dosing.rules.engine.bands import standing
from dosing.rules.engine.comedication import of_group
from dosing.rules.engine.facts import (
    TACROLIMUS_LEVEL,
    CaseFacts,
    EventKind,
    Intent,
    Observation,
    Regimen,
    RegimenStatus,
    Route,
)
from dosing.rules.engine.quantities import ZERO, day, months_after, shown
from dosing.rules.engine.rows import Condition, DrugClass, DrugGroup, Phase, ScheduleRow
from dosing.rules.engine.rulebook import RuleBook, Scheduled
from dosing.rules.engine.trough import Side, is_trough, newest_trough, side, values

_RAAS_BLOCKERS = (
    DrugGroup.ACE_INHIBITOR,
    DrugGroup.ANGIOTENSIN_RECEPTOR_BLOCKER,
    DrugGroup.POTASSIUM_SPARING,
)
_NAMES = {TACROLIMUS_LEVEL: "tacrolimus trough", "hba1c": "HbA1c"}
# How long the beginning of a treatment lasts, by the number that says it.
_FIRST = {
    Condition.FIRST_WEEKS: "FIRST-WEEKS-DAYS",
    Condition.FIRST_MONTHS: "FIRST-MONTHS",
    Condition.FIRST_YEAR: "FIRST-YEAR-MONTHS",
}

Phases = Mapping[Phase, Sequence[Scheduled]]


class Entry(NamedTuple):
    """One test of the calendar, by which row it is due, and when it was last done.

    `since` is the day from which it counts: the last result or, where that is older, the start of
    the treatment; None where neither is known. `asked` says that S23 asks for the test already.
    """

    row: ScheduleRow
    test: DueTest
    last_on: date | None
    since: date | None
    asked: bool = False


def calendar(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding | DueTest, ...]:
    """S25, S26, S29-S35: every test of the calendar is due, and those that are late are a finding.

    The first trough of a treatment is asked for by S23; here it is late or nothing.
    """
    regimen = case.regimen
    if regimen is None or case.intent is not Intent.REVIEW or not book.index.schedules:
        return ()
    treatment = _Treatment(case, regimen, book, at)
    answer: list[Finding | DueTest] = []
    for code, tests in book.index.schedules.items():
        finding = book.index.findings.get(code)
        if finding is None:
            continue
        late: list[Entry] = []
        for analyte, phases in tests.items():
            entry = treatment.entry(analyte, phases, finding.statements)
            if entry is None:
                continue
            if treatment.asked_on > entry.test.latest:
                late.append(entry)
            elif not entry.asked:
                answer.append(entry.test)
        if late:
            phase = late[0].row.phase
            answer += raised(
                book,
                code,
                f"Overdue: {_late_words(late, book)}. "
                f"{_phase_words(phase, TACROLIMUS_LEVEL in tests, book)}.",
                inputs=(
                    ("phase", phase.value),
                    *((entry.row.analyte, _dates(entry)) for entry in late),
                ),
                due_tests=tuple(entry.test for entry in late if not entry.asked),
            )
    return tuple(answer)


def _late_words(entries: list[Entry], book: RuleBook) -> str:
    """What is overdue, tests of the same days in one clause."""
    names = book.index.names | _NAMES
    clauses = []
    for _, group in groupby(sorted(entries, key=_by_code), key=_by_days):
        alike = list(group)
        first = alike[0]
        named = ", ".join(names.get(each.row.analyte, each.row.analyte) for each in alike)
        done = "no result" if first.last_on is None else f"last on {day(first.last_on)}"
        from_start = first.since is not None and first.since != first.last_on
        begun = f" from {day(first.since)}" if first.since is not None and from_start else ""
        every = f"every {first.row.every_days} days{begun}; "
        if first.asked:
            every = ""
        clauses.append(f"{named}, due on {day(first.test.due)} ({every}{done})")
    return "; ".join(clauses)


def _by_days(entry: Entry) -> tuple[date, date, int]:
    return entry.test.due, entry.last_on or date.min, entry.row.every_days


def _by_code(entry: Entry) -> tuple[tuple[date, date, int], str]:
    return _by_days(entry), entry.row.code


def _dates(entry: Entry) -> str:
    last = "none" if entry.last_on is None else entry.last_on.isoformat()
    return f"last {last}, due {entry.test.due.isoformat()}, latest {entry.test.latest.isoformat()}"


def _phase_words(phase: Phase, level: bool, book: RuleBook) -> str:
    """Why the interval is what it is."""
    numbers = book.index.numbers
    if phase is Phase.TITRATION:
        return "The trough is not stable yet" if level else "The dose has not been stable for long"
    months = shown(numbers.get("LEVEL-EARLY-MONTHS" if level else "TEST-EARLY-MONTHS", ZERO))
    ago = (
        f"less than {months} months ago" if phase is Phase.EARLY else f"{months} months ago or more"
    )
    return f"The {'trough' if level else 'dose'} became stable {ago}"


def _dose_day(regimen: Regimen, at: datetime) -> date | None:
    since = regimen.dose_since
    return None if since is None else since.astimezone(at.tzinfo).date()


def level_phase(case: CaseFacts, book: RuleBook, at: datetime) -> Phase:
    """How far the trough is (D1, D2): TITRATION until the troughs of the dose in force have been
    inside the target, one after another, over the days of the row; then EARLY for some months.

    A level outside the target, or a new dose, begins again. A comparator that may lie on either
    side neither counts nor breaks the row.
    """
    regimen = case.regimen
    numbers = book.index.numbers
    if regimen is None or regimen.dose_since is None or "LEVEL-STABLE-DAYS" not in numbers:
        return Phase.TITRATION
    steady_at = regimen.dose_since + timedelta(hours=int(numbers["STEADY-STATE-HOURS"]))
    window = book.index.windows.get(regimen.formulation)
    inside: list[date] = []
    for level in case.results(TACROLIMUS_LEVEL, at):
        if level.at < steady_at:
            break
        if not is_trough(level, window):
            continue
        where = side(level, regimen, book)
        if where is Side.INSIDE:
            inside.append(level.at.astimezone(at.tzinfo).date())
        elif where is not None:
            break
    needed = ceil(numbers["LEVEL-STABLE-DAYS"])
    stable_on = next((on for on in reversed(inside) if (on - inside[-1]).days >= needed), None)
    return _after(stable_on, "LEVEL-EARLY-MONTHS", book, at)


def dose_phase(regimen: Regimen, book: RuleBook, at: datetime) -> Phase:
    """How far the treatment is for laboratory tests (D5, D6): TITRATION until the dose has been the
    same for the weeks of the row, then EARLY for some months. A dose of unknown age is not stable.
    """
    set_on = _dose_day(regimen, at)
    stable_days = book.index.numbers.get("DOSE-STABLE-DAYS")
    if set_on is None or stable_days is None:
        return Phase.TITRATION
    stable_on = set_on + timedelta(days=int(stable_days))
    return _after(stable_on if stable_on <= at.date() else None, "TEST-EARLY-MONTHS", book, at)


def _after(stable_on: date | None, months: str, book: RuleBook, at: datetime) -> Phase:
    if stable_on is None:
        return Phase.TITRATION
    early = int(book.index.numbers.get(months, 0))
    return Phase.EARLY if at.date() < months_after(stable_on, early) else Phase.STABLE


class _Treatment:
    """What the calendar of one patient depends on, each asked once."""

    def __init__(self, case: CaseFacts, regimen: Regimen, book: RuleBook, at: datetime) -> None:
        self.case, self.regimen, self.book, self.at = case, regimen, book, at
        self.asked_on = at.date()
        self.set_on = _dose_day(regimen, at)
        self.begun = regimen.started_on or self.set_on
        self.level_phase = level_phase(case, book, at)
        self.dose_phase = dose_phase(regimen, book, at)
        self.known: dict[Condition, bool] = {}
        self.until: dict[Condition, date] = {}

    def entry(self, analyte: str, phases: Phases, statements: tuple[str, ...]) -> Entry | None:
        """The one row that counts for this test, with its days; None where none asks for it."""
        if analyte == TACROLIMUS_LEVEL:
            if self.regimen.status is RegimenStatus.HELD:
                return None
            newest = newest_trough(self.case, self.book, self.at)
            entry = self._counted(newest, phases.get(self.level_phase, ()), statements)
            return None if entry is None else self._trough(entry)
        newest = self.case.newest(analyte, self.at)
        return self._counted(newest, phases.get(self.dose_phase, ()), statements)

    def _counted(
        self,
        newest: Observation | None,
        rows: Sequence[Scheduled],
        statements: tuple[str, ...],
    ) -> Entry | None:
        last_on = None if newest is None else newest.at.astimezone(self.at.tzinfo).date()
        # A result from before the treatment is its baseline: the calendar begins with it.
        since = last_on
        if self.begun is not None and (since is None or since < self.begun):
            since = self.begun
        for row, conditions in rows:
            due = self.asked_on if since is None else since + timedelta(row.every_days)
            if conditions and not all(self._holds(condition, due) for condition in conditions):
                continue
            grace = timedelta(row.grace_days)
            test = DueTest(
                analyte=row.analyte,
                earliest=due if since is None else due - grace,
                due=due,
                latest=due + grace,
                statements=statements,
            )
            return Entry(row, test, last_on, since)
        return None

    def _trough(self, entry: Entry) -> Entry:
        """A trough is never due before the dose in force can show; the first is that of S23."""
        row, test = entry.row, entry.test
        if self.set_on is None:
            return entry
        if entry.last_on is None:
            for first in next_test(self.book, "FIRST-TROUGH", self.set_on, "FIRST-TROUGH"):
                return entry._replace(test=first, since=self.set_on, asked=True)
        hours = self.book.index.numbers["STEADY-STATE-HOURS"]
        steady_on = self.set_on + timedelta(days=-int(-hours // 24))
        if test.earliest >= steady_on:
            return entry
        due = max(test.due, steady_on)
        latest = due + timedelta(row.grace_days)
        return entry._replace(test=test._replace(earliest=steady_on, due=due, latest=latest))

    def _holds(self, condition: Condition, due: date) -> bool:
        """Whether the condition holds; the first weeks, months and year by the day of the test."""
        if condition in _FIRST:
            return self._within(condition, due)
        if condition not in self.known:
            self.known[condition] = self._asked(condition)
        return self.known[condition]

    def _within(self, condition: Condition, due: date) -> bool:
        """Whether the test comes due in the first weeks, months or year of the treatment.

        Of an unknown start each of them lasts.
        """
        if self.begun is None:
            return True
        if condition not in self.until:
            number = int(self.book.index.numbers.get(_FIRST[condition], ZERO))
            self.until[condition] = (
                self.begun + timedelta(number)
                if condition is Condition.FIRST_WEEKS
                else months_after(self.begun, number)
            )
        return due <= self.until[condition]

    def _asked(self, condition: Condition) -> bool:
        match condition:
            case Condition.LEVEL_TITRATION:
                return self.level_phase is Phase.TITRATION
            case Condition.QT_RISK:
                return bool(qt.risks(self.case, self.book, self.at))
            case Condition.CKD:
                return self._kidney_disease()
            case Condition.RAAS_BLOCKER:
                return self._raas_blocker()
            case _:
                return self._pulse_steroid()

    def _kidney_disease(self) -> bool:
        """Renal failure on record, or the newest eGFR in a band that says something (D14)."""
        if self.case.current_events(self.at, EventKind.RENAL_FAILURE):
            return True
        newest = self.case.newest("egfr", self.at)
        if newest is None:
            return False
        bands = self.book.index.thresholds.get("egfr", ())
        return bool(standing(bands, values(newest), self.book).finding)

    def _raas_blocker(self) -> bool:
        """An ACE inhibitor, an ARB or a potassium-sparing diuretic is taken, or about to be."""
        return any(of_group(self.case, self.book, self.at, group) for group in _RAAS_BLOCKERS)

    def _pulse_steroid(self) -> bool:
        """A corticosteroid was infused within the days of the row."""
        days = self.book.index.numbers.get("PULSE-STEROID-DAYS", ZERO)
        since = self.at.date() - timedelta(days=int(days))
        classes = self.book.index.drug_classes
        return any(
            drug.route is Route.IV
            and not drug.planned
            and (drug.stopped_on is None or drug.stopped_on >= since)
            and any(
                name in classes and classes[name][0] is DrugClass.CORTICOSTEROID
                for name in drug.ingredients
            )
            for drug in self.case.co_medications
        )
