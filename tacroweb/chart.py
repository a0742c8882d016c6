"""What the chart shows of one patient: computed from rows and the rule book, nothing is written."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dosing.checks import AnswerReason, questions
from dosing.companion.steps import STEP_OF_FINDING, in_order_of_steps
from dosing.models import CompanionOrder, CompanionUnit, DoseOrder, Regimen, RegimenStatus
from dosing.pages import nothing_proposed
from dosing.rules.engine import trough
from dosing.rules.engine.advice import NOT_APPROVED, Advice, DueTest, Effect, Finding, Outcome
from dosing.rules.engine.facts import LOCAL_ROUTES, TACROLIMUS_LEVEL
from dosing.rules.engine.facts import Observation as Level
from dosing.rules.engine.quantities import Comparator, shown
from dosing.rules.engine.rows import DoseAct, DrugClass, Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.selectors import DoseStep as Step
from monitoring.selectors import Visit
from monitoring.services import samples
from patients.models import ClinicalEvent, CoMedication, Observation
from patients.vocabulary import vocabulary
from tacroweb.levels import (
    DAYS_IN_TARGET,
    PlacedLevel,
    Target,
    as_reported,
    bands,
    midnight,
    recent_time_in_target,
)
from tacroweb.numbers import format_decimal
from tacroweb.templatetags.components import UNITS
from tacroweb.templatetags.quantities import (
    NOT_KNOWN,
    clinical_date,
    in_days,
    mg,
    mg_per_day,
    plain,
    plain_dose,
    printed_unit,
    quantity,
)
from tacroweb.timeline import (
    STATUS_WORDS,
    DoseStep,
    DrugBar,
    Kind,
    Mark,
    Timeline,
)

# What a class of the rule book means for the level, how it looks, and its bar on the timeline.
EFFECTS: dict[DrugClass, tuple[str, str, Kind]] = {
    DrugClass.STRONG_INHIBITOR_AZOLE: (
        "Raises the level: strong inhibitor (azole)",
        "critical",
        "strong inhibitor",
    ),
    DrugClass.STRONG_INHIBITOR: (
        "Raises the level: strong inhibitor",
        "critical",
        "strong inhibitor",
    ),
    DrugClass.MODERATE_INHIBITOR: (
        "Raises the level: moderate inhibitor",
        "warning",
        "moderate inhibitor",
    ),
    DrugClass.STRONG_INDUCER: (
        "Lowers the level: strong inducer",
        "critical",
        "strong inducer",
    ),
    DrugClass.GRAPEFRUIT: ("Raises the level: avoid", "critical", "other"),
    DrugClass.CONTRAINDICATED: ("Not to be combined with tacrolimus", "critical", "other"),
}
# What a rule of a drug outside these classes says of the level.
_MAY = {"RAISES": "May raise the level", "LOWERS": "May lower the level"}
HOLDS: tuple[str, str, Kind] = ("Raises the level: tacrolimus is held", "critical", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Medicine:
    """One co-medication with what the rule book makes of it."""

    row: CoMedication
    taken: bool
    effects: tuple[tuple[str, str], ...]
    kind: Kind | None
    companion: CompanionOrder | None = None
    elsewhere: bool = False

    @property
    def unnamed(self) -> str:
        """What is said of one without an effect: a rule of another kind, as of potassium, may still
        ask for care."""
        words = "No interaction rule in force"
        return f"{words}; other rules name it" if self.elsewhere else words

    @property
    def name(self) -> str:
        """The drug as it begins a line."""
        return _capital(str(self.row))

    @property
    def dose(self) -> str:
        """How much is taken: what the record says; of pulses and infusions what is ordered."""
        if self.row.daily_dose_mg is not None:
            return mg_per_day(self.row.daily_dose_mg)
        if self.companion is not None:
            return f"{self.companion.dose_words}, {self.companion.rhythm}"
        return NOT_KNOWN

    @property
    def dose_before(self) -> str:
        """The dose until the newest change, and the day of it; "" where none is recorded."""
        if self.row.dose_changed_on is None:
            return ""
        before = mg_per_day(self.row.daily_dose_before_mg)
        return f"{before} until {clinical_date(self.row.dose_changed_on)}"

    def bar(self, today: date) -> DrugBar | None:
        """Its course on the timeline; None for one that does not act, is planned or has no date."""
        row = self.row
        if self.kind is None or row.planned or row.started_on is None or row.started_on > today:
            return None
        return DrugBar(
            name=self.name, kind=self.kind, started=row.started_on, stopped=row.stopped_on
        )


def medicine(
    row: CoMedication,
    book: RuleBook | None,
    today: date,
    companion: CompanionOrder | None = None,
) -> Medicine:
    """What the rule book says of this drug: its class, a hold, nothing, or that nobody can say.

    The effect is empty only where the vocabulary knows the drug and no interaction rule names it.
    `companion` is the order in force that it is taken by, if one is.
    """
    taken = row.stopped_on is None or row.stopped_on > today
    elsewhere = False
    known: list[tuple[str, str, Kind]] = []
    said: list[tuple[str, str]] = []
    if row.drug is None:
        said.append(("Not checked: outside the vocabulary", "warning"))
    elif book is None:
        said.append(("Not checked: no rule book", "critical"))
    elif row.route in LOCAL_ROUTES:
        said.append((f"None by this route ({row.get_route_display().lower()})", "neutral"))
    else:
        for name in row.drug.ingredients.splitlines() or [row.drug.generic_name]:
            elsewhere = elsewhere or name in book.index.groups_of
            started = book.index.interactions.get((name, "STARTED"))
            if started is not None and started.act is DoseAct.HOLD:
                known.append(HOLDS)
            drug_class, _ = book.index.drug_classes.get(name, (None, False))
            if drug_class in EFFECTS:
                known.append(EFFECTS[drug_class])
            elif started is not None and started.act is not DoseAct.HOLD:
                known.append((_MAY[started.effect], "warning", "other"))
    said += [(words, tone) for words, tone, _ in known]
    kinds = [kind for _, _, kind in known]
    acting = [kind for kind in kinds if kind != "other"] or kinds
    return Medicine(
        row=row,
        taken=taken,
        effects=tuple(dict.fromkeys(said)),
        kind=acting[0] if acting else None,
        companion=companion,
        elsewhere=elsewhere,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """An order of companion treatment as the chart shows it, with the hand under it."""

    order: CompanionOrder
    signed_by: str
    reason: str

    @property
    def drift(self) -> str:
        """Where the record has gone on without the order: what it says now; "" where they agree."""
        row, order = self.order.co_medication, self.order
        if order.closed_at is not None:
            return ""
        if row.withdrawn:
            return "The drug was withdrawn from the record."
        if row.stopped_on is not None:
            return f"The record says: stopped {clinical_date(row.stopped_on)}."
        daily = order.unit == CompanionUnit.MG_PER_DAY
        if daily and row.daily_dose_mg != order.dose:
            return f"The record says: {mg_per_day(row.daily_dose_mg)}."
        return ""


def companion(order: CompanionOrder) -> Companion:
    """The order with its own signature, not the one under its end; `signatures` is prefetched."""
    signed = min(order.signatures.all(), key=lambda signature: signature.pk)
    return Companion(order=order, signed_by=signed.printed_name, reason=order.reason)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def answered_in(order: DoseOrder | None) -> dict[tuple[str, str], str]:
    """What the signer of this order said to each finding, by the finding's code and message.

    A finding that still says the same, word for word, was raised by the same facts: it has its
    answer. One more fact changes the message, and it asks again.
    """
    if order is None:
        return {}
    said = json.loads(order.answers or "{}")
    words = {}
    for question in questions(order.assessment.advice):
        if answer := said.get(question.key):
            reason = AnswerReason(answer["reason"]).label
            text = f"{reason}: {answer['text']}" if answer["text"] else str(reason)
            words[question.finding["code"], question.finding["message"]] = text
    return words


def finding_card(found: Finding, proposal: Any) -> dict[str, Any]:
    """A finding as the page component shows it, without a proposal that stands above it already.

    Of the inputs only the measured ones that the message does not say itself stand beside it.
    """
    source = found.source.removesuffix(NOT_APPROVED)
    return {
        "code": found.code,
        "severity": found.severity.name,
        "statements": found.statements,
        "message": found.message,
        "source": source,
        "origin": found.origin,
        "needs_local_approval": source != found.source,
        "inputs": [
            (key, value)
            for key, value in found.inputs
            if key.endswith(tuple(dict(UNITS))) and value not in found.message
        ],
        "proposal": None if found.proposal == proposal else found.proposal,
        "orders_step": found.code in STEP_OF_FINDING,
        "due": [test_words(test) for test in found.due_tests],
    }


def test_words(test: DueTest) -> str:
    """For example "Tacrolimus level between 24-Nov-2026 and 26-Nov-2026".

    The window alone: the day on which it is due is that of the task, which may answer several.
    """
    analyte = vocabulary().analyte(test.analyte)
    name = analyte.name if analyte else test.analyte
    if test.earliest == test.latest:
        return f"{name} on {clinical_date(test.due)}"
    return f"{name} between {clinical_date(test.earliest)} and {clinical_date(test.latest)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """The findings of an advice in the page's tiers; apart from them the gaps in the baseline with
    their gate (S24), and what the signer of the dose in force has answered.

    `undecided` are the findings without that answer which ask for a decision that no number gives.
    """

    critical: tuple[dict[str, Any], ...]
    warning: tuple[dict[str, Any], ...]
    advice: tuple[dict[str, Any], ...]
    info: tuple[dict[str, Any], ...]
    baseline: tuple[dict[str, Any], ...]
    gate: tuple[dict[str, Any], ...]
    answered: tuple[dict[str, Any], ...]
    undecided: tuple[Finding, ...]


_TIERS = {Severity.CAUTION: "warning", Severity.ADVISE: "advice", Severity.INFO: "info"}


def tiers(advice: Advice, book: RuleBook, order: DoseOrder | None) -> Tiers:
    """STOP and WARN are critical, CAUTION is a warning, ADVISE is advice, INFO for information."""
    cards: dict[str, list[dict[str, Any]]] = {}
    answers = answered_in(order)
    undecided = []
    for found in advice.findings:
        card = finding_card(found, advice.proposal)
        if (found.code, found.message) not in answers and _asks_without_a_number(found):
            undecided.append(found)
        if answer := answers.get((found.code, found.message)):
            tier = "answered"
            card["answer"] = answer
        elif found.code in book.index.baseline:
            tier = "baseline"
            card["message"] = _capital(found.message.removeprefix("Before the first dose: "))
            card["gaps"] = len(found.inputs)
        elif found.code == "BASE-GATE":
            tier = "gate"
            # The list of what is missing stands right above it.
            card["message"] = _capital(found.message.rpartition("): ")[2])
        elif found.severity >= Severity.WARN:
            tier = "critical"
        else:
            tier = _TIERS[found.severity]
        cards.setdefault(tier, []).append(card)
    cards["advice"] = in_order_of_steps(cards.get("advice", ()))
    names = ("critical", "warning", "advice", "info", "baseline", "gate", "answered")
    return Tiers(**{name: tuple(cards.get(name, ())) for name in names}, undecided=tuple(undecided))


def _asks_without_a_number(found: Finding) -> bool:
    """Whether it leaves a decision to the prescriber: it must be answered, or asks for less.

    One with a dose of its own has been weighed for the one proposal: the dose in force meets it, or
    another finding bars it, which then counts itself.
    """
    return found.proposal is None and (found.severity >= Severity.WARN or _asks_for_less(found))


def _asks_for_less(found: Finding) -> bool:
    """Whether it asks for less tacrolimus. A level without a dose of its own says why it changes
    none."""
    weighed = any(key == "level_ng_per_ml" for key, _ in found.inputs)
    return found.effect is Effect.ASKS_FOR_LESS and not weighed


def unproposed(advice: Advice, undecided: Sequence[Finding]) -> str:
    """What stands in place of a proposal while tacrolimus is given: "no change" only if nothing
    asks for one, and everything could be checked."""
    if undecided:
        less = sum(_asks_for_less(found) for found in undecided)
        if less == len(undecided):
            return nothing_proposed(less, "for a decision on the dose")
        of_them = f", {less} of them on the dose" if less else ""
        return nothing_proposed(len(undecided), f"for your decision{of_them}")
    if advice.outcome is Outcome.COULD_NOT_CHECK:
        return "No number is proposed, and not everything could be checked: read the findings."
    if advice.outcome is Outcome.OUTSIDE_PROTOCOL:
        return "No number is proposed: this use is outside the protocol."
    return "No change of dose is proposed."


_STORED_PLACES = 8  # of a result's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The newest value of one analyte and the one before it; a level with its place in the target.

    A level is judged by the target of its time, so that row, tile and timeline say the same.
    """

    newest: Observation
    before: Observation | None
    level: PlacedLevel | None = None

    @property
    def converted(self) -> str:
        """The value in the canonical unit, where it was entered in another one."""
        row = self.newest
        unit = row.analyte.canonical_unit
        if row.unit_entered == unit or row.entered == as_reported(row):
            return ""
        return quantity(f"{row.comparator}{self._told_apart()}", unit)

    def _told_apart(self) -> str:
        """The converted value, rounded no further than it stays on its side of the range."""
        value, limits = self.newest.value, self._limits
        for places in range(2, _STORED_PLACES):
            text = shown(value, at_most=places)
            if all(_side(Decimal(text), end) == _side(value, end) for end in limits):
                return text
        return format_decimal(value)

    @property
    def _limits(self) -> list[Decimal]:
        """The ends of the range that the value is judged by."""
        analyte = self.newest.analyte
        if self.level is not None and self.level.target is not None:
            return [self.level.target.low, self.level.target.high]
        ends = (analyte.reference_low, analyte.reference_high)
        return [end for end in ends if end is not None]

    @property
    def range_words(self) -> str:
        """The range with the digits it is kept with, and its unit if that is not the result's: a
        level's target, any other's reference range; "" if there is none."""
        analyte = self.newest.analyte
        low, high = analyte.reference_low, analyte.reference_high
        limits = [format_decimal(end) for end in self._limits]
        if self.level is not None and self.level.target is not None:
            words = f"target {limits[0]} to {limits[1]}"
        elif low is not None and high is not None:
            places = max(len(end.partition(".")[2]) for end in limits)
            words = " to ".join(shown(end, at_least=places, at_most=places) for end in (low, high))
        elif high is not None:
            words = f"up to {limits[0]}"
        elif low is not None:
            words = f"from {limits[0]}"
        else:
            return ""
        unit = analyte.canonical_unit
        return words if unit == self.newest.unit_entered else f"{words} {printed_unit(unit)}"

    @property
    def doubt(self) -> str:
        """Why a level is not placed in the target, as the tile says it; "" for any other result."""
        if self.level is None or self.level.status != "doubtful":
            return ""
        return f"{STATUS_WORDS[self.level.status]}, {self.level.note}"

    @property
    def before_words(self) -> str:
        """The value before, with its unit where it is not the newest one's."""
        before = self.before
        if before is None:
            return ""
        if before.unit_entered == self.newest.unit_entered:
            return before.entered
        return quantity(before.entered, before.unit_entered)

    @property
    def flag(self) -> str:
        """ "low" or "high" against the reference range, by the engine's reading of comparators; of
        a level where it stands to its target.

        It is read of the stored value: a result has its flag where the check of the patient fails.
        """
        if self.level is not None:
            return {"below": "below target", "above": "above target"}.get(self.level.status, "")
        analyte, row = self.newest.analyte, self.newest
        seen = trough.values(
            Level(
                analyte=analyte.key,
                value=row.value,
                unit=analyte.canonical_unit,
                canonical=Fraction(row.value),
                at=row.drawn_at,
                comparator=Comparator(row.comparator) if row.comparator else None,
            )
        )
        if analyte.reference_low is not None and seen.below(Fraction(analyte.reference_low)):
            return "low"
        if analyte.reference_high is not None and seen.above(Fraction(analyte.reference_high)):
            return "high"
        return ""


def _side(value: Decimal, end: Decimal) -> int:
    """Below (-1), at (0) or above (1) an end of a range."""
    return int(value.compare(end))


def latest_results(rows: Iterable[Observation]) -> list[Result]:
    """One line an analyte, the last day first; `rows` are newest first."""
    newest: dict[int, Observation] = {}
    before: dict[int, Observation] = {}
    for row in rows:
        if row.analyte_id not in newest:
            newest[row.analyte_id] = row
        else:
            before.setdefault(row.analyte_id, row)
    ordered = sorted(newest.values(), key=lambda row: (-row.drawn_at.toordinal(), row.analyte_id))
    return [Result(newest=row, before=before.get(row.analyte_id)) for row in ordered]


def with_target(results: Iterable[Result], placed: Sequence[PlacedLevel]) -> list[Result]:
    """The results with the place of the level among them; `placed` is newest first."""
    places = {each.row.pk: each for each in placed[:1]}
    return [replace(each, level=places.get(each.newest.pk)) for each in results]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure of the row on top; the fields are those of the page component."""

    label: str
    value: str = ""
    unit: str = ""
    note: str = ""
    tone: str = ""


def level_tile(placed: Sequence[PlacedLevel]) -> Tile:
    """The newest level, newest first, and where it stands. A level in doubt is said to be so."""
    label = "Last trough"
    if not placed:
        return Tile(label=label, value="None", note="no level recorded")
    newest = placed[0]
    words = STATUS_WORDS[newest.status] + (f", {newest.note}" if newest.note else "")
    return Tile(
        label=f"{label}, {clinical_date(newest.row.drawn_at)}",
        value=as_reported(newest.row),
        unit="ng/mL",
        note=words,
        tone="ok" if newest.status == "in_target" else "warning",
    )


def dose_tile(
    regimen: Regimen | None,
    order: DoseOrder | None,
    steps: Sequence[Step],
    weight_kg: Fraction | None,
) -> Tile:
    """The dose in force in mg/day, how it is taken, and mg/kg/day to three decimals (half up)."""
    label = "Current dose"
    if regimen is None or order is None:
        ended = f"stopped {clinical_date(steps[-1].until)}" if steps else "never ordered"
        return Tile(label=label, value="None", note=f"not on tacrolimus, {ended}")
    total = order.total_daily_mg
    if regimen.status == RegimenStatus.HELD:
        since = next((step.since for step in reversed(steps) if step.held), None)
        return Tile(
            label=label,
            value="Held",
            note=f"since {clinical_date(since)}; was {mg_per_day(total)}",
            tone="warning",
        )
    taken = f"{mg(order.morning_mg)} + {mg(order.evening_mg)}"
    if not order.evening_mg:
        taken = f"{mg(order.morning_mg)} once a day"
    if weight_kg:
        per_kg = Fraction(total) / weight_kg
        rounded = Decimal(int(per_kg * 1000 + Fraction(1, 2))) / 1000
        taken += f", {plain(rounded)} mg/kg/day"
    return Tile(label=label, value=plain_dose(total), unit="mg/day", note=taken)


def in_target_tile(placed: Sequence[PlacedLevel], target: Target | None, at: datetime) -> Tile:
    """Time in target over the last 90 days, and over how many of them it is known."""
    label = f"Time in target, {DAYS_IN_TARGET} days"
    if target is None:
        return Tile(label=label, value="None", note="not on tacrolimus")
    share = recent_time_in_target(placed, target, at)
    if share is None:
        return Tile(label=label, note="needs exact troughs of two days")
    return Tile(
        label=label,
        value=str(share.percent),
        unit="%",
        note=f"of {share.days} days between exact troughs, {target.words}",
    )


def baseline_progress(gaps: Iterable[dict[str, Any]], book: RuleBook) -> tuple[int, int]:
    """How many of the tests before the first dose are done, and of how many (S16-S22)."""
    total = sum(len(items) for items in book.index.baseline.values())
    return total - sum(card["gaps"] for card in gaps), total


def next_trough_tile(
    due: Iterable[Visit], advice: Advice, today: date, *, on_therapy: bool
) -> Tile:
    """The next level that the protocol asks for, as the task for it says it.

    Where the tasks do not know yet what was recorded a moment ago, it is the sample they will ask
    for. It is overdue once its window has passed, as everywhere.
    """
    label = "Next trough due"
    if not on_therapy:
        return Tile(label=label, value="None", note="not on tacrolimus")
    windows = [
        (test.due_on, test.earliest_on, test.latest_on)
        for visit in due
        for test in visit.tests
        if test.analyte.key == TACROLIMUS_LEVEL
    ] or [
        (sample.due, sample.earliest, sample.latest)
        for sample in samples(advice.due_tests)
        if sample.analyte == TACROLIMUS_LEVEL
    ]
    if not windows:
        return Tile(label=label, value="None", note="the protocol asks for none now")
    due_on, earliest_on, latest_on = min(windows)
    if latest_on < today:
        note, tone = in_days(latest_on, today), "critical"
    elif due_on <= today:
        note = "due now" if latest_on == due_on else f"due now, latest {clinical_date(latest_on)}"
        tone = "warning"
    else:
        note, tone = in_days(due_on, today), "warning" if earliest_on <= today else ""
    return Tile(label=label, value=clinical_date(due_on), note=note, tone=tone)


def timeline(
    placed: Sequence[PlacedLevel],
    found: Sequence[Target],
    steps: Iterable[Step],
    medicines: Iterable[Medicine],
    events: Iterable[ClinicalEvent],
    *,
    at: datetime,
    days: int | None = None,
) -> Timeline:
    """Everything on one axis; the last `days` only, if given."""
    since = at - timedelta(days=days) if days else None
    shown_levels = [each for each in placed if since is None or each.row.drawn_at >= since]
    marks = (
        Mark(
            at=midnight(event.started_on, at),
            label=str(event) + (f", grade {event.grade}" if event.grade else ""),
        )
        for event in events
    )
    return Timeline(
        now=at,
        since=since,
        troughs=tuple(each.point for each in reversed(shown_levels)),
        doses=tuple(
            DoseStep(since=step.since, until=step.until, total_mg=step.total_mg, held=step.held)
            for step in steps
            if since is None or step.until is None or step.until > since
        ),
        bands=bands(found),
        drugs=tuple(bar for each in medicines if (bar := each.bar(at.date())) is not None),
        marks=tuple(mark for mark in marks if since is None or mark.at >= since),
    )
