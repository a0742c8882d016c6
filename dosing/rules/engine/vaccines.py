"""Live vaccines while tacrolimus is taken, told by their ATC code: S74, X14."""

from datetime import date, datetime

from dosing.rules.engine.advice import Effect, Finding, raised
from dosing.rules.engine.facts import CaseFacts, Immunisation, Intent
from dosing.rules.engine.quantities import day
from dosing.rules.engine.rows import VaccineRow
from dosing.rules.engine.rulebook import RuleBook


def live_vaccines(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S74: a live vaccine that is planned is stopped; one given during the treatment warns.

    The code alone decides, never the name, the route or a guess: what no row of the book names is
    let through. A dose from before the treatment is no finding. One that was planned and never
    recorded as given is still planned.
    """
    found: tuple[Finding, ...] = ()
    for dose in case.immunisations:
        row = _row(dose, book)
        if row is None:
            continue
        inputs = (("vaccine", dose.vaccine), ("atc", row.atc))
        name = f"{row.name[0].upper()}{row.name[1:]} ({row.atc})"
        today = at.date()
        if dose.given_on is None or dose.given_on > today:
            # It has one of the two days at least.
            planned_on = next(on for on in (dose.given_on, dose.planned_on) if on is not None)
            found += raised(
                book,
                "LIVE-VACCINE-PLANNED",
                f"{name} is planned for {day(planned_on)}: it is a live vaccine, and live "
                "vaccines are avoided while tacrolimus is taken.",
                inputs=(*inputs, ("planned_on", str(planned_on))),
                effect=Effect.BARS_START_AND_RAISES,
            )
        elif _during_treatment(dose.given_on, case):
            found += raised(
                book,
                "LIVE-VACCINE-GIVEN",
                f"{name}, a live vaccine, was given on {day(dose.given_on)} while tacrolimus was "
                "taken: live vaccines are avoided during the treatment.",
                inputs=(*inputs, ("given_on", str(dose.given_on))),
            )
    return found


def _row(dose: Immunisation, book: RuleBook) -> VaccineRow | None:
    vaccines = book.index.vaccines
    return next((vaccines[code] for code in dose.atc if code in vaccines), None)


def _during_treatment(given_on: date, case: CaseFacts) -> bool:
    """Whether the dose fell into the regimen; one without a start may have begun before it."""
    if case.regimen is None:
        return False
    begun = case.regimen.started_on
    return begun is None or given_on >= begun


def complete_first(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """An option of the label: immunisations are completed before the first dose."""
    if case.intent is not Intent.START:
        return ()
    return raised(
        book,
        "VACCINES-BEFORE-START",
        "Complete the immunisations that are needed before the first dose of tacrolimus.",
    )
