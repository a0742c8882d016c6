"""From a computed total to doses that can be dispensed, with the sum shown (D20, D21)."""

from fractions import Fraction

from dosing.rules.engine.advice import Action, DoseProposal
from dosing.rules.engine.facts import Formulation
from dosing.rules.engine.quantities import Mg, as_decimal, round_down, round_nearest, shown
from dosing.rules.engine.rows import RoundingRow
from dosing.rules.engine.rulebook import RuleBook


def step_mg(book: RuleBook, formulation: Formulation) -> Fraction | None:
    """The smallest strength, mg: single doses are its multiples. None: no proposal (D20)."""
    strengths = book.index.strengths.get(formulation)
    return strengths[0] if strengths else None


def lowest_mg_per_day(step: Fraction) -> Fraction:
    """The least daily total in two doses, mg/day."""
    return 2 * step


def cut(total: Fraction, share: Fraction, step: Fraction) -> Fraction:
    """`total` mg/day × `share`, rounded down to the strengths (D17a)."""
    return round_down(total * share, step)


def dispensable(
    computed: Fraction,
    step: Fraction,
    rounding: RoundingRow,
    *,
    lowest: Fraction | None = None,
    highest: Fraction | None = None,
) -> Fraction | None:
    """`computed` mg/day as whole capsules, the way of the row, never past `lowest` or `highest`.

    None where no multiple of `step` lies between the two.
    """
    if rounding.mode == "DOWN":
        computed = round_down(computed, step)
    return round_nearest(computed, step, lowest=lowest, highest=highest)


def proposal(action: Action, total: Fraction, step: Fraction, arithmetic: str) -> DoseProposal:
    """`total` mg/day as two doses of whole capsules, the larger in the morning.

    Raises ValueError for a total that is no multiple of `step` or below two capsules.
    """
    capsules, rest = divmod(total, step)
    if rest or capsules < 2:
        raise ValueError("a proposal must be dispensable in two doses")
    evening = capsules // 2 * step
    morning = total - evening
    if morning != evening:
        arithmetic += f"; {mg(total)} mg/day = {mg(morning)} + {mg(evening)}"
    return DoseProposal(
        action=action,
        arithmetic=arithmetic,
        morning_mg=Mg(as_decimal(morning)),
        evening_mg=Mg(as_decimal(evening)),
    )


def hold(reason: str) -> DoseProposal:
    """Tacrolimus held: a state of the regimen, never a dose of zero."""
    return DoseProposal(action=Action.HOLD, arithmetic=reason)


def rounded(computed: Fraction, total: Fraction, rounding: RoundingRow) -> str:
    """How a computed total became the proposed one, to be put behind the sum."""
    if computed == total:
        return " mg/day"
    way = "rounded down to" if rounding.mode == "DOWN" else "rounded to"
    return f", {way} {mg(total)} mg/day"


def mg(total: Fraction) -> str:
    """mg or mg/day with one decimal at least, as the arithmetic shows it."""
    return shown(total, at_least=1)
