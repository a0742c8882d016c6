"""Infections: the risk, prophylaxis, and what holds tacrolimus until it is controlled: S69-S72."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from fractions import Fraction

from dosing.rules.engine import doses
from dosing.rules.engine.advice import Finding, raised
from dosing.rules.engine.bands import limits, partners, reported, standing
from dosing.rules.engine.comedication import of_group
from dosing.rules.engine.facts import (
    CaseFacts,
    ClinicalEvent,
    CoMedication,
    EventKind,
    InfectionRisk,
)
from dosing.rules.engine.quantities import ZERO, day, shown
from dosing.rules.engine.rows import DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import values

# What a specialist weighs before prophylaxis or treatment; a past illness counts (D23).
_HISTORIES = {
    EventKind.HEPATITIS_B_CORE_ANTIBODY: "hepatitis B core antibody",
    EventKind.LATENT_TUBERCULOSIS: "latent tuberculosis",
    EventKind.HERPES_ZOSTER: "herpes zoster",
    EventKind.CMV_DISEASE: "CMV disease",
}


def serious_infection(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S72: hold until a serious infection is controlled; an ungraded one could not be checked."""
    found: tuple[Finding, ...] = ()
    serious_from = book.index.numbers["SERIOUS-INFECTION-GRADE"]
    for event in case.current_events(at, EventKind.INFECTION):
        since = _since(event)
        if event.grade is None:
            found += raised(
                book,
                "INFECTION-UNGRADED",
                f"An unresolved infection{since} has no grade: grade {shown(serious_from)} or more "
                "is serious and would mean holding tacrolimus until it is controlled. Record the "
                "grade.",
                inputs=(("event", event.kind.value), ("grade", "not known")),
                unchecked=True,
            )
        elif event.grade >= serious_from:
            found += raised(
                book,
                "INFECTION-SERIOUS",
                f"A serious infection (grade {event.grade}){since} is not resolved: discontinue "
                "tacrolimus until it is controlled.",
                inputs=(("event", event.kind.value), ("grade", str(event.grade))),
                proposal=doses.hold("hold until the infection is controlled"),
            )
        else:
            found += _current(event, "An infection", book)
    return found


def opportunistic(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S72, D24: CMV disease is serious whatever its grade, herpes zoster where it is disseminated.

    Zoster without a grade could not be checked.
    """
    found: tuple[Finding, ...] = ()
    serious_from = book.index.numbers["SERIOUS-INFECTION-GRADE"]
    for event in case.current_events(at, EventKind.CMV_DISEASE):
        found += raised(
            book,
            "INFECTION-CMV",
            f"CMV disease{_since(event)} is not resolved: it is a serious infection, so "
            "discontinue tacrolimus until it is controlled.",
            inputs=(("event", event.kind.value),),
            proposal=doses.hold("hold until the CMV disease is controlled"),
        )
    for event in case.current_events(at, EventKind.HERPES_ZOSTER):
        if event.grade is None:
            found += raised(
                book,
                "INFECTION-ZOSTER-UNGRADED",
                f"Herpes zoster{_since(event)} has neither a grade nor a day on which it resolved: "
                f"disseminated zoster (grade {shown(serious_from)} or more) would mean holding "
                "tacrolimus until it is controlled. Record the one or the other.",
                inputs=(("event", event.kind.value), ("grade", "not known")),
                unchecked=True,
            )
        elif event.grade >= serious_from:
            found += raised(
                book,
                "INFECTION-ZOSTER",
                f"Herpes zoster (grade {event.grade}){_since(event)} is not resolved: it is a "
                "serious infection, so discontinue tacrolimus until it is controlled.",
                inputs=(("event", event.kind.value), ("grade", str(event.grade))),
                proposal=doses.hold("hold until the zoster is controlled"),
            )
        else:
            found += _current(event, "Herpes zoster", book)
    return found


def to_resume(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S72, D24: what must be documented before tacrolimus is given again."""
    serious_from = book.index.numbers["SERIOUS-INFECTION-GRADE"]
    kinds = (EventKind.INFECTION, EventKind.HERPES_ZOSTER, EventKind.CMV_DISEASE)
    serious = [
        event
        for event in case.current_events(at, *kinds)
        if event.kind is EventKind.CMV_DISEASE
        or (event.grade is not None and event.grade >= serious_from)
    ]
    if not serious:
        return ()
    return raised(
        book,
        "INFECTION-TO-RESUME",
        "Before tacrolimus is given again, document that the infection is controlled: the day on "
        "which it resolved, and what shows it (treatment finished or working, cultures or viral "
        "load, the clinical state). Until that day is recorded the hold stands.",
        inputs=tuple(("event", event.kind.value) for event in serious[:1]),
    )


def _current(event: ClinicalEvent, name: str, book: RuleBook) -> tuple[Finding, ...]:
    """S36: an infection that is not serious is watched, so that it does not become so unseen."""
    return raised(
        book,
        "INFECTION-CURRENT",
        f"{name} (grade {event.grade}){_since(event)} is not resolved: watch it closely.",
        inputs=(("event", event.kind.value), ("grade", str(event.grade))),
    )


def _since(event: ClinicalEvent) -> str:
    return "" if event.started_on is None else f" since {day(event.started_on)}"


def information(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S36, S69, S70: said to everyone who has a regimen."""
    if case.regimen is None:
        return ()
    return raised(
        book,
        "INFECTION-RISK",
        "Tacrolimus clearly raises the risk of infection, opportunistic infections such as CMV and "
        "herpes zoster included.",
    ) + raised(
        book,
        "INFECTION-SUSPICION",
        "Look for signs of infection at every contact, and keep a high index of suspicion as long "
        "as tacrolimus is taken.",
    )


def prophylaxis(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S71, D23: prophylaxis for a high risk, against Pneumocystis, and what a specialist weighs."""
    found: tuple[Finding, ...] = ()
    given = partners(case, book, at, DrugGroup.PNEUMOCYSTIS_PROPHYLAXIS)
    taken = f" On the list already: {given}." if given else ""
    if case.patient.infection_risk is InfectionRisk.HIGH:
        found += raised(
            book,
            "PROPHYLAXIS-HIGH-RISK",
            "The infection risk is recorded as high: consider prophylactic antimicrobials, and "
            f"screen for hepatitis B and C, HIV and, where it fits, tuberculosis.{taken}",
            inputs=(("infection_risk", "HIGH"),),
        )
    why = [] if given else list(_pneumocystis(case, book, at))
    if why:
        found += raised(
            book,
            "PROPHYLAXIS-PNEUMOCYSTIS",
            f"{'; '.join(why)}: consider prophylaxis against Pneumocystis with co-trimoxazole "
            "(it can raise potassium beside tacrolimus), atovaquone or pentamidine.",
            inputs=(("reasons", "; ".join(why)),),
        )
    known = {event.kind for event in case.events if _begun(event, at.date())}
    histories = [words for kind, words in _HISTORIES.items() if kind in known]
    if histories:
        found += raised(
            book,
            "PROPHYLAXIS-SPECIALIST",
            f"On record: {', '.join(histories)}. Ask a specialist about prophylaxis and monitoring "
            "under tacrolimus.",
            inputs=(("history", ", ".join(histories)),),
        )
    return found


def _begun(event: ClinicalEvent, today: date) -> bool:
    return event.started_on is None or event.started_on <= today


def _pneumocystis(case: CaseFacts, book: RuleBook, at: datetime) -> Iterator[str]:
    """What makes Pneumocystis likely (D23), in words that can begin a message or follow in it."""
    numbers, today = book.index.numbers, at.date()
    least, days = (
        numbers.get("PROPHYLAXIS-STEROID-MG-PER-DAY"),
        numbers.get("PROPHYLAXIS-STEROID-DAYS"),
    )
    if least is not None and days is not None:
        lowest = _lowest_steroid(case, book, today - timedelta(days=int(days)), at)
        if lowest >= least:
            yield (
                f"Prednisone-equivalent {shown(lowest)} mg/day or more for {shown(days)} days "
                "with tacrolimus"
            )
    for drug, row in of_group(case, book, at, DrugGroup.CYCLOPHOSPHAMIDE):
        when = "is about to be given" if drug.planned else "is taken"
        yield f"{row.drug[0].upper()}{row.drug[1:]} {when}"
    seen = case.newest("lymphocytes", at)
    if seen is not None:
        place = standing(book.index.thresholds.get("lymphocytes", ()), values(seen), book)
        if place.row is not None and place.finding:
            yield f"Lymphocytes {reported(seen, at)} are {limits(place.row)}"


def _lowest_steroid(case: CaseFacts, book: RuleBook, since: date, at: datetime) -> Fraction:
    """The lowest daily dose of systemic steroids from `since` until today, as mg of prednisone.

    A course of unknown begin or dose adds nothing: what is not known is not counted.
    """
    today, members = at.date(), book.index.groups.get(DrugGroup.PREDNISONE_EQUIVALENT, {})
    courses = [
        (drug, Fraction(factor))
        for drug in case.co_medications
        if drug.systemic and not drug.planned
        for factor in (members[name].factor for name in drug.ingredients if name in members)
        if factor is not None
    ]
    changes = {since} | {
        on
        for drug, _ in courses
        for on in (drug.started_on, drug.stopped_on, *drug.dose_changes)
        if on is not None and since < on <= today
    }
    return min(
        sum((_dose_on(on, drug) * factor for drug, factor in courses), ZERO) for on in changes
    )


def _dose_on(on: date, drug: CoMedication) -> Fraction:
    """The daily dose on a day, mg; 0 where it is not taken or not known."""
    if drug.started_on is None or drug.started_on > on:
        return ZERO
    if drug.stopped_on is not None and drug.stopped_on <= on:
        return ZERO
    return Fraction(drug.dose_on(on) or 0)
