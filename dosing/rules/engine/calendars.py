"""How often each test comes back while tacrolimus is taken: S25, S26, S29-S35, D1-D11."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby

from dosing.rules.engine import qt
from dosing.rules.engine.advice import DueTest, Finding, next_test, raised
from dosing.rules.engine.bands import standing
from dosing.rules.engine.comedication import of_group
from dosing.rules.engine.facts import (
    TACROLIMUS_LEVEL,
    CaseFacts,
    EventKind,
    Intent,
    Regimen,
    RegimenStatus,
    Route,
)
from dosing.rules.engine.quantities import ZERO, day, months_after, shown
from dosing.rules.engine.rows import Condition, DrugClass, DrugGroup, Phase, ScheduleRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import Side, newest_trough, side, troughs, values

_RAAS_BLOCKERS = (
    DrugGroup.ACE_INHIBITOR,
    DrugGroup.ANGIOTENSIN_RECEPTOR_BLOCKER,
    DrugGroup.POTASSIUM_SPARING,
)
_NAMES = {TACROLIMUS_LEVEL: "tacrolimus trough", "hba1c": "HbA1c"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One test of the calendar: when it is due, by which row, when it was last done.

    `since` is the day from which it counts: the last result or, where that is older, the start of
    the treatment; None where neither is known.
    """

    row: ScheduleRow
    test: DueTest
    last_on: date | None
    since: date | None

    def is_overdue(self, today: date) -> bool:
        """Whether the last day on which it is in time has passed."""
        return today > self.test.latest


def upcoming(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[DueTest, ...]:
    """The tests of the calendar that are not overdue: due, but no finding (S25, S26, S29-S35).

    The first trough of a treatment is asked for by S23.
    """
    today = at.date()
    return tuple(
        entry.test
        for entry in _entries(case, book, at)
        if not entry.is_overdue(today) and not _is_first_trough(entry)
    )


def overdue(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S25, S26, S29-S35: what the calendar asked for and nobody has measured, with its dates."""
    today = at.date()
    late = [entry for entry in _entries(case, book, at) if entry.is_overdue(today)]
    found: tuple[Finding, ...] = ()
    if not late:
        return found
    names = {item.analyte: item.name for item in book.baseline_items} | _NAMES
    for code, analytes in book.index.schedules.items():
        entries = [entry for entry in late if entry.row.finding == code]
        if not entries:
            continue
        phase = entries[0].row.phase
        found += raised(
            book,
            code,
            f"Overdue: {'; '.join(_late_words(entries, names))}. "
            f"{_phase_words(phase, TACROLIMUS_LEVEL in analytes, book)}.",
            inputs=(
                ("phase", phase.value),
                *((entry.test.analyte, _dates(entry)) for entry in entries),
            ),
            due_tests=tuple(entry.test for entry in entries),
        )
    return found


def _late_words(entries: list[Entry], names: dict[str, str]) -> Iterator[str]:
    """What is overdue, tests of the same days in one clause."""
    for _, group in groupby(sorted(entries, key=_by_days), key=lambda entry: _by_days(entry)[:4]):
        alike = list(group)
        first = alike[0]
        named = ", ".join(names.get(each.test.analyte, each.test.analyte) for each in alike)
        done = "no result" if first.last_on is None else f"last on {day(first.last_on)}"
        from_start = first.since is not None and first.since != first.last_on
        begun = f" from {day(first.since)}" if first.since is not None and from_start else ""
        every = f"every {first.row.every_days} days{begun}; "
        if _is_first_trough(first):
            every = ""
        yield f"{named}, due on {day(first.test.due)} ({every}{done})"


def _by_days(entry: Entry) -> tuple[date, date, date, int, str]:
    since, last_on = entry.since or date.min, entry.last_on or date.min
    return entry.test.due, since, last_on, entry.row.every_days, entry.row.code


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


def _is_first_trough(entry: Entry) -> bool:
    return entry.row.analyte == TACROLIMUS_LEVEL and entry.last_on is None


def _first_trough(entry: Entry, regimen: Regimen, book: RuleBook, at: datetime) -> Entry:
    """The first trough of a treatment has the days that S23 gives it."""
    set_on = _dose_day(regimen, at)
    if not _is_first_trough(entry) or set_on is None:
        return entry
    for test in next_test(book, "FIRST-TROUGH", set_on, entry.row.finding):
        return replace(entry, test=test, since=set_on)
    return entry


def _entries(case: CaseFacts, book: RuleBook, at: datetime) -> Iterator[Entry]:
    """Every test of the calendar with its days, by finding."""
    regimen = case.regimen
    if regimen is None or case.intent is not Intent.REVIEW or not book.index.schedules:
        return
    begun = regimen.started_on or _dose_day(regimen, at)
    level_phase_now, dose_phase_now = level_phase(case, book, at), dose_phase(regimen, book, at)
    asked = _Conditions(case, book, at, begun, level_phase_now)
    for code, tests in book.index.schedules.items():
        finding = book.index.findings.get(code)
        if finding is None:
            continue
        for analyte, phases in tests.items():
            level = analyte == TACROLIMUS_LEVEL
            if level and regimen.status is RegimenStatus.HELD:
                continue
            last_on = _last_on(case, book, at, analyte)
            # A result from before the treatment is its baseline: the calendar begins with it.
            since = max(filter(None, (last_on, begun)), default=None)
            for row in phases.get(level_phase_now if level else dose_phase_now, ()):
                due = at.date() if since is None else since + timedelta(days=row.every_days)
                if not asked.hold(row, due):
                    continue
                entry = Entry(
                    row=row,
                    test=_due(row, due, since, regimen, book, at, finding.statements),
                    last_on=last_on,
                    since=since,
                )
                yield _first_trough(entry, regimen, book, at) if level else entry
                break


def _due(
    row: ScheduleRow,
    due: date,
    since: date | None,
    regimen: Regimen,
    book: RuleBook,
    at: datetime,
    statements: tuple[str, ...],
) -> DueTest:
    """The window of one test; a trough is never due before the dose in force can show (D1)."""
    grace = timedelta(days=row.grace_days)
    earliest = due if since is None else due - grace
    set_on = _dose_day(regimen, at)
    if row.analyte == TACROLIMUS_LEVEL and set_on is not None:
        hours = book.index.numbers["STEADY-STATE-HOURS"]
        earliest = max(earliest, set_on + timedelta(days=-int(-hours // 24)))
        due = max(due, earliest)
    return DueTest(
        analyte=row.analyte,
        earliest=earliest,
        due=due,
        latest=due + grace,
        statements=statements,
    )


def _last_on(case: CaseFacts, book: RuleBook, at: datetime, analyte: str) -> date | None:
    """The day of the newest result; of tacrolimus, of the newest trough of this treatment."""
    newest = (
        newest_trough(case, book, at) if analyte == TACROLIMUS_LEVEL else case.newest(analyte, at)
    )
    return None if newest is None else newest.at.astimezone(at.tzinfo).date()


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
    inside: list[date] = []
    for level in troughs(case, book, at):
        where = side(level, regimen, book)
        if level.at < steady_at or where in (Side.BELOW, Side.ABOVE):
            break
        if where is Side.INSIDE:
            inside.append(level.at.astimezone(at.tzinfo).date())
    needed = numbers["LEVEL-STABLE-DAYS"]
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


class _Conditions:
    """What of the conditions of a calendar holds for this case, each asked once."""

    def __init__(
        self, case: CaseFacts, book: RuleBook, at: datetime, begun: date | None, level: Phase
    ) -> None:
        self.case, self.book, self.at, self.begun, self.level = case, book, at, begun, level
        self.known: dict[Condition, bool] = {}

    def hold(self, row: ScheduleRow, due: date) -> bool:
        """Whether all conditions of the row hold for a test that it makes due on `due`."""
        return all(self._holds(condition, due) for condition in row.conditions)

    def _holds(self, condition: Condition, due: date) -> bool:
        ends_on = self._ends_on(condition)
        if ends_on is not None:
            return due <= ends_on
        if condition not in self.known:
            self.known[condition] = self._asked(condition)
        return self.known[condition]

    def _ends_on(self, condition: Condition) -> date | None:
        """Until when the first weeks, months or year go. Of an unknown start: for ever."""
        numbers = self.book.index.numbers
        if condition is Condition.FIRST_WEEKS:
            if self.begun is None:
                return date.max
            return self.begun + timedelta(days=int(numbers.get("FIRST-WEEKS-DAYS", 0)))
        if condition in (Condition.FIRST_MONTHS, Condition.FIRST_YEAR):
            if self.begun is None:
                return date.max
            first = condition is Condition.FIRST_MONTHS
            months = "FIRST-MONTHS" if first else "FIRST-YEAR-MONTHS"
            return months_after(self.begun, int(numbers.get(months, 0)))
        return None

    def _asked(self, condition: Condition) -> bool:
        match condition:
            case Condition.LEVEL_TITRATION:
                return self.level is Phase.TITRATION
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
