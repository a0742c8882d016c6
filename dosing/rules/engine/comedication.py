"""What else is taken, and which interacting drug was started or stopped when."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from dosing.rules.engine.facts import CaseFacts, CoMedication
from dosing.rules.engine.quantities import day
from dosing.rules.engine.rows import INTERACTING, DrugClass
from dosing.rules.engine.rulebook import RuleBook


class Change(StrEnum):
    """What happened to an interacting drug."""

    STARTED = "STARTED"
    PLANNED = "PLANNED"
    STOPPED = "STOPPED"
    UNDATED = "UNDATED"  # taken, and nobody recorded since when


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One interacting ingredient, started or stopped on `on`: day 0 of its tests.

    `in_seed` says whether the protocol itself lists the drug in its class. `drug_class` is None for
    a drug that only asks for a hold (cobicistat: D17b without a row of the seed).
    """

    ingredient: str
    taken: CoMedication
    drug_class: DrugClass | None
    in_seed: bool
    change: Change
    on: date

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


def is_taken(drug: CoMedication, today: date) -> bool:
    """Whether the drug is taken or about to be: no stop date, or one that is still to come."""
    return drug.stopped_on is None or drug.stopped_on > today


def taken_of(
    case: CaseFacts, book: RuleBook, at: datetime, drug_class: DrugClass
) -> tuple[tuple[CoMedication, str], ...]:
    """The systemic drugs of this class that are taken or about to be, each with what acts in it."""
    classes = book.index.drug_classes
    today = at.date()
    return tuple(
        (drug, name)
        for drug in case.co_medications
        if drug.systemic and is_taken(drug, today)
        for name in drug.ingredients
        if name in classes and classes[name][0] is drug_class
    )


def events(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Event, ...]:
    """Every interacting ingredient: started (or about to be) and still taken, or stopped.

    Day 0 is `started_on`, `stopped_on`, or the day of `at` if planned; a start in the future is a
    plan. A drug that was stopped has only its stop.
    """
    classes, holds, today = book.index.drug_classes, book.index.hold_drugs, at.date()
    found = []
    systemic = [drug for drug in case.co_medications if drug.systemic]
    now = {name for drug in systemic if is_taken(drug, today) for name in drug.ingredients}
    for drug in systemic:
        for name in drug.ingredients:
            drug_class, in_seed = classes.get(name, (None, False))
            if drug_class not in INTERACTING:
                if name not in holds:
                    continue
                drug_class = None
            if drug.stopped_on is not None and drug.stopped_on <= today:
                if name in now:  # taken again, or by another route: nothing stopped
                    continue
                change, on = Change.STOPPED, drug.stopped_on
            elif drug.planned or (drug.started_on is not None and drug.started_on > today):
                change, on = Change.PLANNED, today
            elif drug.started_on is None:
                change, on = Change.UNDATED, today
            else:
                change, on = Change.STARTED, drug.started_on
            found.append(
                Event(
                    ingredient=name,
                    taken=drug,
                    drug_class=drug_class,
                    in_seed=in_seed,
                    change=change,
                    on=on,
                )
            )
    return tuple(found)


def is_open(event: Event, book: RuleBook, at: datetime) -> bool:
    """Whether the event still counts: fewer days than the book's row since day 0."""
    elapsed = (at.date() - event.on).days
    return (
        event.change is not Change.UNDATED and elapsed < book.index.numbers["INTERACTION-OPEN-DAYS"]
    )


def unlisted(case: CaseFacts, at: datetime) -> tuple[CoMedication, ...]:
    """The drugs outside the vocabulary that are taken or about to be."""
    return tuple(
        drug for drug in case.co_medications if not drug.ingredients and is_taken(drug, at.date())
    )
