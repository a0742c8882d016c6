"""Interactions: each drug has one answer to its start and one to its stop, the right way round."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from dosing.rules.engine.rows import (
    INHIBITORS,
    INTERACTING,
    DoseAct,
    DrugClass,
    InteractionRow,
)
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import LintFinding, error
from dosing.rules.linting.names import INDEX_DRUG, acts_as

_CHANGES = ("STARTED", "STOPPED")
_EFFECTS = ("RAISES", "LOWERS")
_MORE = frozenset({DoseAct.INCREASE, DoseAct.RAISE_BACK})
_LESS = frozenset({DoseAct.CUT_TO_FRACTION, DoseAct.REDUCE, DoseAct.HOLD, DoseAct.STEP_DOWN})
# What the engine makes of an act, on start and on stop: the finding that the row leads.
_LEADS = {
    ("STARTED", DoseAct.CUT_TO_FRACTION): "INT-AZOLE-STARTED",
    ("STARTED", DoseAct.REDUCE): "INT-STRONG-STARTED",
    ("STARTED", DoseAct.HOLD): "INT-BOOSTER-STARTED",
    ("STARTED", DoseAct.FOLLOW_TROUGH): "INT-MODERATE-STARTED",
    ("STARTED", DoseAct.INCREASE): "INT-INDUCER-STARTED",
    ("STARTED", DoseAct.AVOID): "INT-GRAPEFRUIT",
    ("STOPPED", DoseAct.FOLLOW_TROUGH): "INT-OTHER-STOPPED",
    ("STOPPED", DoseAct.RAISE_BACK): "INT-INHIBITOR-STOPPED",
    ("STOPPED", DoseAct.STEP_DOWN): "INT-INDUCER-STOPPED",
}
# What the level does when a drug of this effect is started or stopped.
_RISES = frozenset({("RAISES", "STARTED"), ("LOWERS", "STOPPED")})


def shape(book: RuleBook) -> Iterator[LintFinding]:
    """A row is for a start or a stop, raises or lowers, and has tacrolimus on one side."""
    for row in book.interactions:
        for what, value, known in (
            ("change", row.change, _CHANGES),
            ("effect", row.effect, _EFFECTS),
        ):
            if value not in known:
                yield error(
                    what.upper(),
                    "interactions",
                    row.code,
                    value,
                    f"{row.code} has the {what} {value!r}: it must be one of {' or '.join(known)}.",
                )
        yield from _sides(row)


def _sides(row: InteractionRow) -> Iterator[LintFinding]:
    """The drug is looked up among `drugs`; tacrolimus alone stands on the other side."""
    drugs = {acts_as(drug) for drug in row.drugs}
    partners = {acts_as(drug) for drug in row.with_drugs}
    if INDEX_DRUG in drugs and INDEX_DRUG in partners:
        words = f"has {INDEX_DRUG} on both sides"
    elif INDEX_DRUG in drugs:
        words = f"has {INDEX_DRUG} among its drugs, where the other drug is looked up"
    elif not drugs:
        words = "names no drug"
    elif partners != {INDEX_DRUG}:
        words = f"is with {' and '.join(sorted(partners)) or 'nothing'}"
    else:
        return
    yield error(
        "SIDES",
        "interactions",
        row.code,
        ", ".join((*row.drugs, *row.with_drugs)),
        f"{row.code} {words}: its drugs are on one side, and {INDEX_DRUG} alone on the other.",
    )


def direction(book: RuleBook) -> Iterator[LintFinding]:
    """On start no inhibitor raises the dose and no inducer cuts it; on stop the reverse."""
    for row in book.interactions:
        if not row.enabled or row.change not in _CHANGES or row.effect not in _EFFECTS:
            continue
        rises = (row.effect, row.change) in _RISES
        if row.act in (_MORE if rises else _LESS):
            yield error(
                "DIRECTION",
                "interactions",
                row.code,
                row.act,
                f"{row.code} asks {row.act} when a drug that {row.effect.lower()} the level is "
                f"{row.change.lower()}: the level {'rises' if rises else 'falls'} then.",
            )


def acts(book: RuleBook) -> Iterator[LintFinding]:
    """An act belongs to its change, and its row is as severe as the finding that it leads."""
    for row in book.interactions:
        if not row.enabled or row.change not in _CHANGES:
            continue
        code = _LEADS.get((row.change, row.act))
        if code is None:
            yield error(
                "ACT",
                "interactions",
                row.code,
                row.act,
                f"{row.code} asks {row.act} when a drug is {row.change.lower()}: nothing follows "
                "from that.",
            )
            continue
        finding = book.index.findings.get(code)
        if finding is None:
            yield error(
                "REFERENCE",
                "interactions",
                row.code,
                code,
                f"{row.code} leads to the finding {code!r}, which is not enabled in this book.",
            )
        elif row.severity < finding.severity:
            yield error(
                "SEVERITY",
                "interactions",
                row.code,
                row.severity.name,
                f"{row.code} is {row.severity.name}, less than the {finding.severity.name} of "
                f"{code}, which it leads.",
            )


def fractions(book: RuleBook) -> Iterator[LintFinding]:
    """A cut to a fraction has one between 0 and 1, and no other act has any."""
    for row in book.interactions:
        if row.act is DoseAct.CUT_TO_FRACTION:
            if (
                row.numerator is None
                or row.denominator is None
                or not 0 < row.numerator < row.denominator
            ):
                yield error(
                    "FRACTION",
                    "interactions",
                    row.code,
                    _fraction(row),
                    f"{row.code} cuts to a fraction: it needs two whole numbers, the upper one "
                    "more than 0 and less than the lower one.",
                )
        elif row.numerator is not None or row.denominator is not None:
            yield error(
                "FRACTION",
                "interactions",
                row.code,
                _fraction(row),
                f"{row.code} asks {row.act} and has a fraction: only CUT_TO_FRACTION has one.",
            )


def _fraction(row: InteractionRow) -> str:
    if row.numerator is None and row.denominator is None:
        return "none"
    return f"{row.numerator or '?'}/{row.denominator or '?'}"


def claims(book: RuleBook) -> Iterator[LintFinding]:
    """Every interacting drug has one row for its start and one for its stop, and no drug two."""
    held: dict[tuple[str, str], list[tuple[InteractionRow, bool]]] = defaultdict(list)
    for row in book.interactions:
        if not row.enabled:
            continue
        first = {acts_as(drug) for drug in row.drugs}
        other = {acts_as(drug) for drug in row.with_drugs}
        times = Counter(acts_as(drug) for drug in (*row.drugs, *row.with_drugs))
        for name in sorted(name for name in times if times[name] > 1 and name != INDEX_DRUG):
            yield error(
                "DUPLICATE",
                "interactions",
                row.code,
                name,
                f"{row.code} names {name} twice.",
            )
        for drug in sorted((first | other) - {INDEX_DRUG}):
            held[drug, row.change].append((row, drug in first))
    for (drug, change), rows in held.items():
        one, one_first = rows[0]
        for again, again_first in rows[1:]:
            turned = " the other way round" if one_first != again_first else ""
            yield error(
                "DUPLICATE",
                "interactions",
                f"{one.code}, {again.code}",
                f"{drug} {change}",
                f"{drug} {change.lower()} is claimed by {one.code} and again{turned} by "
                f"{again.code}.",
            )
            if one.act != again.act and ({one.act} <= _MORE) != ({again.act} <= _MORE):
                yield error(
                    "OPPOSITE",
                    "interactions",
                    f"{one.code}, {again.code}",
                    f"{drug} {change}",
                    f"On {drug} {change.lower()} {one.code} asks {one.act} and {again.code} asks "
                    f"{again.act}.",
                )
    if not book.interactions:
        return
    classed = {acts_as(row.drug): row for row in book.drug_classes}
    needed = {
        name: row.code
        for name, row in classed.items()
        if row.enabled and book.index.drug_classes[row.drug][0] in INTERACTING
    }
    for (drug, _), rows in held.items():
        if all(row.act is not DoseAct.AVOID for row, _ in rows):
            needed.setdefault(drug, rows[0][0].code)
    for drug, code in needed.items():
        for change in _CHANGES:
            if (drug, change) not in held:
                yield error(
                    "MISSING",
                    "interactions",
                    code,
                    f"{drug} {change}",
                    f"No enabled interaction says what follows when {drug}, which {code} names, is "
                    f"{change.lower()}.",
                )


def classes(book: RuleBook) -> Iterator[LintFinding]:
    """An inhibitor raises the level and an inducer lowers it, in class and interaction alike."""
    known = {acts_as(drug): held[0] for drug, held in book.index.drug_classes.items()}
    for row in book.interactions:
        if not row.enabled:
            continue
        for drug in (*row.drugs, *row.with_drugs):
            drug_class = known.get(acts_as(drug))
            if drug_class in INHIBITORS or drug_class is DrugClass.GRAPEFRUIT:
                wanted = "RAISES"
            elif drug_class is DrugClass.STRONG_INDUCER:
                wanted = "LOWERS"
            else:
                continue
            if row.effect in _EFFECTS and row.effect != wanted:
                yield error(
                    "EFFECT",
                    "interactions",
                    row.code,
                    f"{drug} {row.effect}",
                    f"{row.code} says that {drug} {row.effect.lower()} the level, but its class "
                    f"is {drug_class}.",
                )


def modifying_factors(book: RuleBook) -> Iterator[LintFinding]:
    """A modifying factor belongs to an interaction that is on, and to one of its drugs."""
    held = {row.code: row for row in book.interactions if row.enabled}
    for row in book.modifying_factors:
        if not row.enabled:
            continue
        interaction = held.get(row.interaction)
        if interaction is None:
            yield error(
                "REFERENCE",
                "modifying_factors",
                row.code,
                row.interaction,
                f"{row.code} belongs to {row.interaction!r}, which is no enabled interaction.",
            )
        elif row.drug and acts_as(row.drug) not in {
            acts_as(drug) for drug in (*interaction.drugs, *interaction.with_drugs)
        }:
            yield error(
                "REFERENCE",
                "modifying_factors",
                row.code,
                row.drug,
                f"{row.code} is about {row.drug}, which is no drug of {row.interaction}.",
            )
