"""What forbids tacrolimus or a drug beside it, and what could not be checked: S73."""

from datetime import datetime

from dosing.rules.engine.advice import Effect, Finding, raised
from dosing.rules.engine.comedication import is_taken, shown_name, taken_of, unlisted
from dosing.rules.engine.facts import CaseFacts, CoMedication, EventKind
from dosing.rules.engine.rows import DrugClass, Severity
from dosing.rules.engine.rulebook import RuleBook


def contraindicated(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S73, X12, X18: what tacrolimus is not combined with, while it is taken or about to be.

    A STOP removes a start and raises; a lesser severity asks for care and bars nothing.
    """
    found: tuple[Finding, ...] = ()
    for taken, ingredient in taken_of(case, book, at, DrugClass.CONTRAINDICATED):
        found += raised(  # a book of the first form has a class of drugs for it, and no table
            book,
            "CONTRAINDICATED-DRUG",
            f"{_on_the_list(taken, ingredient)}: do not combine it with tacrolimus (excess "
            "mortality, graft loss and complications).",
            inputs=(("drug", taken.drug),),
            effect=Effect.BARS_START_AND_RAISES,
        )
    today, on_record = at.date(), case.current_events(at, *EventKind)
    for row in book.index.contraindications.values():
        if row.finding not in book.index.findings:
            continue
        stop = book.index.findings[row.finding].severity is Severity.STOP
        effect = Effect.BARS_START_AND_RAISES if stop else Effect.NONE
        for drug in case.co_medications:
            if (
                row.kind == "DRUG"
                and row.name in drug.ingredients
                and drug.systemic
                and is_taken(drug, today)
            ):
                advice = "do not combine it" if stop else "take care when it is combined"
                found += raised(
                    book,
                    row.finding,
                    f"{_on_the_list(drug, row.name)}: {advice} with tacrolimus. {row.source}",
                    inputs=(("drug", drug.drug),),
                    effect=effect,
                )
        for event in on_record:
            if row.kind == "EVENT" and event.kind == row.name:
                advice = "do not give" if stop else "take care with"
                condition = row.name.replace("_", " ").capitalize().replace(" qt", " QT")
                found += raised(
                    book,
                    row.finding,
                    f"{condition} is on record: {advice} tacrolimus. {row.source}",
                    inputs=(("event", event.kind.value),),
                    effect=effect,
                )
    return found


def _on_the_list(taken: CoMedication, ingredient: str) -> str:
    where = "about to be given" if taken.planned else "on the list"
    return f"{shown_name(taken, ingredient)} is {where}"


def unchecked_drugs(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """A drug outside the vocabulary is on the record and was not checked for interactions."""
    found: tuple[Finding, ...] = ()
    for drug in unlisted(case, at):
        found += raised(
            book,
            "DRUG-NOT-CHECKED",
            f"{drug.name} is not in the drug vocabulary: it was not checked for interactions.",
            inputs=(("name", str(drug.name)),),
        )
    return found
