"""The first dose: S7, S8, S10 with D20, D21, D22, D31 and X1."""

from datetime import datetime
from fractions import Fraction

from dosing.rules.engine import doses
from dosing.rules.engine.advice import Action, DueTest, Effect, Finding, raised
from dosing.rules.engine.comedication import taken_of
from dosing.rules.engine.facts import WEIGHT, CaseFacts, Cyp3a5, Formulation, Intent, Sard
from dosing.rules.engine.quantities import ZERO, day, shown
from dosing.rules.engine.rows import DrugClass
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.selection import outside_protocol


def weight_kg(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Fraction, str] | None:
    """The newest weight in kg and where it comes from; None if none is known.

    The field of the case has no date: it yields to a measurement within the look-back (D4), and
    stands before an older one.
    """
    measured = case.newest(WEIGHT, at)
    stated = case.patient.weight_kg
    if measured is not None and measured.comparator is None:
        drawn_on = measured.at.astimezone(at.tzinfo).date()
        age_days = (at.date() - drawn_on).days
        if stated is None or age_days <= book.index.numbers["WEIGHT-LOOK-BACK-DAYS"]:
            return measured.canonical, f"measured {day(drawn_on)}"
    if stated is None:
        return None
    return Fraction(stated), "as recorded"


def by_weight(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S7: mg/kg/day split in two, the proposal of a start; with D20 rounding and the D21 guard."""
    if case.intent is not Intent.START or outside_protocol(case):
        return ()
    known = weight_kg(case, book, at)
    if known is None:
        today = at.date()
        return raised(
            book,
            "START-WEIGHT-UNKNOWN",
            "No weight is recorded, so the weight-based starting dose cannot be computed.",
            due_tests=(
                DueTest(
                    analyte=WEIGHT, earliest=today, due=today, latest=today, statements=("S7",)
                ),
            ),
        )
    kg, where = known
    numbers = book.index.numbers
    per_kg = Fraction(book.index.starting["WEIGHT"].low)
    computed = per_kg * kg
    exact = shown(computed, at_most=4)  # all of the product, for a weight to 0.1 kg
    sum_shown = f"{shown(per_kg, at_most=3)} mg/kg/day × {shown(kg)} kg = {exact}"
    inputs = (("weight_kg", shown(kg)), ("weight", where), ("computed_mg_per_day", exact))
    most = min(numbers["MAX-MG-PER-DAY"], numbers["MAX-MG-PER-KG-PER-DAY"] * kg)
    guard: tuple[Finding, ...] = ()
    if computed > most:
        guard = raised(
            book,
            "START-ABOVE-MAXIMUM",
            f"The computed starting dose, {sum_shown} mg/day, is above the guard of "
            f"{shown(numbers['MAX-MG-PER-DAY'])} mg/day or "
            f"{shown(numbers['MAX-MG-PER-KG-PER-DAY'])} mg/kg/day; the proposal stops there.",
            inputs=inputs,
        )
    step = doses.step_mg(book, Formulation.IR)
    if step is None or case.regimen is not None:
        return guard + raised(
            book,
            "START-BY-WEIGHT",
            f"By weight ({where}): {sum_shown} mg/day in two doses.",
            inputs=inputs,
        )
    rounding = book.index.roundings["START"]
    total = doses.dispensable(computed, step, rounding, highest=most)
    if total is None or total < doses.lowest_mg_per_day(step):
        return (
            guard
            + raised(
                book,
                "START-BY-WEIGHT",
                f"By weight ({where}): {sum_shown} mg/day in two doses.",
                inputs=inputs,
            )
            + raised(
                book,
                "START-NOT-DISPENSABLE",
                f"{exact} mg/day cannot be dispensed as two doses of "
                f"{shown(step)} mg capsules: no dose is proposed.",
                inputs=inputs,
            )
        )
    proposed = doses.proposal(
        Action.START, total, step, f"{sum_shown}{doses.rounded(computed, total, rounding)}"
    )
    return guard + raised(
        book,
        "START-BY-WEIGHT",
        f"By weight ({where}): {proposed.arithmetic}. That is {proposed.taken}.",
        inputs=inputs,
        proposal=proposed,
    )


def fixed(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S8: the fixed daily dose as the alternative, with X1: above it the two are not equivalent."""
    if case.intent is not Intent.START or outside_protocol(case):
        return ()
    row = book.index.starting["FIXED"]
    low, high = row.low, row.high
    message = f"Alternative: a fixed total of {shown(low)} to {shown(high)} mg/day in two doses."
    known = weight_kg(case, book, at)
    if known is not None:
        kg, _ = known
        computed = Fraction(book.index.starting["WEIGHT"].low) * kg
        if computed > high:
            message += (
                f" The two starting doses are not equivalent: at {shown(kg)} kg the weight-based "
                f"dose, {shown(computed, at_most=4)} mg/day, is above {shown(high)} mg/day. "
                "Choose one and record which."
            )
    return raised(book, "START-FIXED", message)


def with_corticosteroid(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S10: in myositis tacrolimus starts together with a systemic corticosteroid."""
    if case.intent is not Intent.START or case.diagnosis.sard is not Sard.IIM:
        return ()
    if taken_of(case, book, at, DrugClass.CORTICOSTEROID):
        return ()
    return raised(
        book,
        "START-WITHOUT-STEROID",
        "No systemic corticosteroid is on the medication list. Initial treatment of myositis with "
        "interstitial lung disease combines tacrolimus with a corticosteroid.",
    )


def genotype(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D22: what the CPIC guideline does by CYP3A5 genotype, as text; it ships turned off."""
    patient, numbers = case.patient, book.index.numbers
    if case.intent is not Intent.START or patient.cyp3a5 is None or outside_protocol(case):
        return ()
    least, most = numbers.get("CYP3A5-TIMES-LOW"), numbers.get("CYP3A5-TIMES-HIGH")
    if least is None or most is None:
        return ()
    if patient.cyp3a5 is Cyp3a5.EXPRESSER:
        words = (
            f"makes CYP3A5: the guideline starts with {shown(least)} to {shown(most)} times the "
            f"usual dose, at most {shown(numbers['MAX-MG-PER-KG-PER-DAY'])} mg/kg/day, and goes on "
            "by levels"
        )
    else:
        words = "makes no CYP3A5: the guideline starts with the usual dose"
    return raised(
        book,
        "START-CYP3A5",
        f"The patient {words}. It was written for transplants, not for interstitial lung disease, "
        "so no dose is proposed from it.",
        inputs=(("cyp3a5", patient.cyp3a5.value),),
    )


def hepatic(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D31: severe impairment of the liver asks for a lower first dose and closer troughs.

    No source gives the number, so the starting dose computed by weight does not stand there: the
    prescriber decides.
    """
    score = case.patient.child_pugh
    if score is None or (case.intent is not Intent.START and case.regimen is None):
        return ()
    stretches = book.index.thresholds.get("child-pugh", ())
    row = next((each for each in stretches if each.finding and each.holds(Fraction(score))), None)
    if row is None:
        return ()
    begins = case.regimen is None
    scored, severe_from = f"Child-Pugh score {score}", shown(row.low or ZERO)
    if row.finding != "HEPATIC-SEVERE":
        message = f"{scored}: impaired liver function can raise the level. Monitor troughs closely."
    elif begins:
        message = (
            f"{scored}, and from {severe_from} on impairment of the liver is severe: start lower "
            "than usual and check troughs more closely. No source gives a number, so no "
            "starting dose is proposed: decide the dose yourself."
        )
    else:
        message = (
            f"{scored}, and from {severe_from} on impairment of the liver is severe: check "
            "troughs more closely than usual. No source gives an interval."
        )
    return raised(
        book,
        row.finding,
        message,
        inputs=(("child_pugh", str(score)),),
        effect=Effect.BARS_START if row.finding == "HEPATIC-SEVERE" and begins else Effect.NONE,
    )
