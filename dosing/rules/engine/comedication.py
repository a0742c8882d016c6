"""What else is taken, and which interacting drug was started or stopped when."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from dosing.rules.engine.facts import CaseFacts, CoMedication, once_a_question
from dosing.rules.engine.quantities import ZERO, compared, day, shown
from dosing.rules.engine.rows import (
    INTERACTING,
    DoseAct,
    DrugClass,
    DrugGroup,
    DrugGroupRow,
    InteractionRow,
)
from dosing.rules.engine.rulebook import RuleBook


class Change(StrEnum):
    """What happened to an interacting drug."""

    STARTED = "STARTED"
    PLANNED = "PLANNED"
    STOPPED = "STOPPED"
    DOSE_CHANGED = "DOSE_CHANGED"  # of an azole that goes on (D17a)
    UNDATED = "UNDATED"  # taken, and nobody recorded since when


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One interacting ingredient, started, stopped or changed on `on`: day 0 of its tests.

    `rule` is the interaction that says what its start, or its stop, means. `in_seed` says whether
    the protocol itself lists the drug in its class. `drug_class` is None for a drug that acts by
    its interaction alone (cobicistat: D17b without a class of the seed).
    """

    ingredient: str
    taken: CoMedication
    rule: InteractionRow
    drug_class: DrugClass | None
    in_seed: bool
    change: Change
    on: date

    @property
    def option(self) -> InteractionRow | None:
        """The interaction of a drug that the protocol itself does not list: it speaks for all."""
        return None if self.in_seed else self.rule

    @property
    def words(self) -> str:
        """The drug and what happened to it, as a message begins."""
        name = shown_name(self.taken, self.ingredient)
        if self.change is Change.STARTED:
            return f"{name} was started on {day(self.on)}"
        if self.change is Change.STOPPED:
            return f"{name} was stopped on {day(self.on)}"
        if self.change is Change.PLANNED:
            return f"{name} is about to be started"
        if self.change is Change.DOSE_CHANGED:
            return f"{name} was changed {_doses(self.taken)} on {day(self.on)}"
        return f"{name} is taken and its start date is not recorded"

    @property
    def inputs(self) -> tuple[tuple[str, str], ...]:
        """What the rules used of this drug."""
        return (
            ("drug", self.taken.drug),
            ("ingredient", self.ingredient),
            ("change", self.change.value),
            ("day", self.on.isoformat()),
        )


def shown_name(taken: CoMedication, ingredient: str) -> str:
    """The drug as a message begins with it, naming the ingredient that acts in a combination."""
    name = taken.drug if taken.drug == ingredient else f"{taken.drug} ({ingredient})"
    return name[0].upper() + name[1:]


def _doses(taken: CoMedication) -> str:
    before = shown(taken.daily_dose_before_mg or ZERO)
    if taken.daily_dose_mg is None:
        return f"from {before} mg/day to another dose"
    return f"from {before} to {shown(taken.daily_dose_mg)} mg/day"


def is_taken(drug: CoMedication, today: date) -> bool:
    """Whether the drug is taken or about to be: no stop date, or one that is still to come."""
    return drug.stopped_on is None or drug.stopped_on > today


@dataclass(frozen=True, slots=True)
class _Taken:
    """The systemic drugs that are taken or about to be: what acts in them, by class, by group."""

    names: frozenset[str]
    by_class: dict[DrugClass, tuple[tuple[CoMedication, str], ...]]
    by_group: dict[DrugGroup, tuple[tuple[CoMedication, DrugGroupRow], ...]]


@once_a_question
def _taken(case: CaseFacts, book: RuleBook, at: datetime) -> _Taken:
    by_class: dict[DrugClass, list[tuple[CoMedication, str]]] = {}
    by_group: dict[DrugGroup, list[tuple[CoMedication, DrugGroupRow]]] = {}
    classes, groups_of, today = book.index.drug_classes, book.index.groups_of, at.date()
    taken = [drug for drug in case.co_medications if drug.systemic and is_taken(drug, today)]
    for drug in taken:
        rows: dict[DrugGroup, DrugGroupRow] = {}
        for name in drug.ingredients:
            if name in classes:
                by_class.setdefault(classes[name][0], []).append((drug, name))
            for row in groups_of.get(name, ()):
                rows.setdefault(row.group, row)
        for group, row in rows.items():
            by_group.setdefault(group, []).append((drug, row))
    return _Taken(
        frozenset(name for drug in taken for name in drug.ingredients),
        {drug_class: tuple(drugs) for drug_class, drugs in by_class.items()},
        {group: tuple(drugs) for group, drugs in by_group.items()},
    )


def taken_now(case: CaseFacts, book: RuleBook, at: datetime) -> frozenset[str]:
    """What acts in the systemic drugs that are taken or about to be."""
    return _taken(case, book, at).names


def taken_of(
    case: CaseFacts, book: RuleBook, at: datetime, drug_class: DrugClass
) -> tuple[tuple[CoMedication, str], ...]:
    """The systemic drugs of this class that are taken or about to be, each with what acts in it."""
    return _taken(case, book, at).by_class.get(drug_class, ())


def of_group(
    case: CaseFacts, book: RuleBook, at: datetime, group: DrugGroup
) -> tuple[tuple[CoMedication, DrugGroupRow], ...]:
    """The systemic drugs of this group that are taken or about to be, each once with its row."""
    return _taken(case, book, at).by_group.get(group, ())


@once_a_question
def events(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Event, ...]:
    """Every interacting ingredient: started (or about to be) and still taken, or stopped.

    Day 0 is `started_on`, `stopped_on`, or the day of `at` if planned; a start in the future is a
    plan. A drug that was stopped has only its stop. The change of dose of an azole that is taken is
    an event of its own (D17a). A drug whose class is turned off is off, unless its start means a
    hold: that needs no class (D17b).
    """
    index, today = book.index, at.date()
    found = []
    for drug in case.co_medications:
        for name in drug.ingredients:
            started = index.interactions.get((name, "STARTED"))
            if started is None or not drug.systemic:
                continue
            if name in index.switched_off and started.act is not DoseAct.HOLD:
                continue
            drug_class, in_seed = index.drug_classes.get(name, (None, False))
            if drug_class not in INTERACTING:
                if started.act is DoseAct.AVOID:  # the drug is the matter, not the dose
                    continue
                drug_class, in_seed = None, False
            rule: InteractionRow | None = started
            if drug.stopped_on is not None and drug.stopped_on <= today:
                if name in taken_now(case, book, at):  # again, or by another route: nothing stopped
                    continue
                change, on = Change.STOPPED, drug.stopped_on
                rule = index.interactions.get((name, "STOPPED"))
            elif drug.planned or (drug.started_on is not None and drug.started_on > today):
                change, on = Change.PLANNED, today
            elif drug.started_on is None:
                change, on = Change.UNDATED, today
            else:
                change, on = Change.STARTED, drug.started_on
            if rule is None:
                continue
            event = Event(
                ingredient=name,
                taken=drug,
                rule=rule,
                drug_class=drug_class,
                in_seed=in_seed,
                change=change,
                on=on,
            )
            found.append(event)
            changed_on = drug.dose_changed_on
            if (
                changed_on is not None
                and changed_on <= today
                and drug.daily_dose_mg != drug.daily_dose_before_mg
                and change in (Change.STARTED, Change.UNDATED)
                and drug_class is DrugClass.STRONG_INHIBITOR_AZOLE
            ):
                found.append(replace(event, change=Change.DOSE_CHANGED, on=changed_on))
    return tuple(found)


def is_open(event: Event, book: RuleBook, at: datetime) -> bool:
    """Whether the event still counts: fewer days than the book's row since day 0."""
    elapsed, limit = (at.date() - event.on).days, book.index.numbers["INTERACTION-OPEN-DAYS"]
    return event.change is not Change.UNDATED and compared(elapsed, limit) < 0


def unlisted(case: CaseFacts, at: datetime) -> tuple[CoMedication, ...]:
    """The drugs outside the vocabulary that are taken or about to be."""
    return tuple(
        drug for drug in case.co_medications if not drug.ingredients and is_taken(drug, at.date())
    )
