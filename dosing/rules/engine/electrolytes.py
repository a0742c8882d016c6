"""Potassium, magnesium and calcium by their bands, and what raises potassium: S59-S61, S63."""

from dataclasses import dataclass
from datetime import datetime

from dosing.rules.engine import doses
from dosing.rules.engine.advice import DoseProposal, Effect, Finding, next_test, raised
from dosing.rules.engine.bands import (
    MAY_BE_WORSE,
    Standing,
    asked,
    by_when,
    day_of,
    limits,
    partners,
    reported,
    scaled,
    standing,
    today,
    undecided,
)
from dosing.rules.engine.comedication import of_group, shown_name
from dosing.rules.engine.facts import CaseFacts, Observation, once_a_question
from dosing.rules.engine.quantities import ZERO, shown
from dosing.rules.engine.rows import DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import values

POTASSIUM, MAGNESIUM, CALCIUM, IONISED = "potassium", "magnesium", "calcium", "calcium-ionised"
# What is said of the dose where tacrolimus is taken, and where it is only thought of.
_TAKEN = {"less": "consider a lower dose of tacrolimus or stopping it", "hold": "hold tacrolimus"}
_NOT_YET = dict.fromkeys(_TAKEN, "settle it before tacrolimus is started")
_LOW = "replace it"
_VERY_LOW = "replace it without delay"
_ECG = "replace it without delay and record an ECG"
_EMERGENCY = (
    "an emergency. Replace it under ECG monitoring, and neither start nor raise tacrolimus before"
)
_NONE, _ASKS, _BARS = Effect.NONE, Effect.ASKS_FOR_LESS, Effect.BARS_START_AND_RAISES
# The bands that say something: the finding that a row leads to, what is done, when the electrolyte
# is repeated, what else is measured, and what becomes of the dose (D12, D12b, D12c).
_TIERS = (
    ("POTASSIUM-LOW", "correct it", "POTASSIUM-REPEAT", (), _NONE),
    ("POTASSIUM-WATCH", "watch it and monitor potassium periodically", "", (), _NONE),
    ("POTASSIUM-HIGH", "{less}", "POTASSIUM-REPEAT", ("TROUGH-CHECK",), _ASKS),
    (
        "POTASSIUM-ECG",
        "record an ECG and {less}",
        "POTASSIUM-REPEAT-NOW",
        ("ECG-NOW", "TROUGH-CHECK"),
        _ASKS,
    ),
    (
        "POTASSIUM-DANGER",
        "an emergency. Follow the emergency pathway, record an ECG and {hold}",
        "POTASSIUM-REPEAT-NOW",
        ("ECG-NOW", "TROUGH-CHECK"),
        _ASKS,
    ),
    ("MAGNESIUM-LOW", _LOW, "MAGNESIUM-REPEAT", (), _NONE),
    ("MAGNESIUM-VERY-LOW", _VERY_LOW, "MAGNESIUM-REPEAT", (), _NONE),
    ("MAGNESIUM-ECG", _ECG, "MAGNESIUM-REPEAT-NOW", ("ECG-NOW",), _NONE),
    ("MAGNESIUM-DANGER", _EMERGENCY, "MAGNESIUM-REPEAT-NOW", ("ECG-NOW",), _BARS),
    ("CALCIUM-LOW", _LOW, "CALCIUM-REPEAT", (), _NONE),
    ("CALCIUM-VERY-LOW", _VERY_LOW, "CALCIUM-REPEAT", (), _NONE),
    ("CALCIUM-ECG", _ECG, "CALCIUM-REPEAT-NOW", ("ECG-NOW",), _NONE),
    ("CALCIUM-DANGER", _EMERGENCY, "CALCIUM-REPEAT-NOW", ("ECG-NOW",), _BARS),
)
_HELD = "POTASSIUM-DANGER"
_TROUGH = "TROUGH-CHECK"
_KINDS = (
    (DrugGroup.POTASSIUM_SPARING, "potassium-sparing diuretic"),
    (DrugGroup.ACE_INHIBITOR, "ACE inhibitor"),
    (DrugGroup.ANGIOTENSIN_RECEPTOR_BLOCKER, "angiotensin receptor blocker"),
)
_RAISING = tuple(group for group, _ in _KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Electrolyte:
    """The newest result of one electrolyte, and where it stands.

    `computed` is what was made of it, behind the result as reported, for the rows of the book;
    `lacks` is what should have been measured with it.
    """

    seen: Observation
    name: str
    place: Standing
    computed: str = ""
    lacks: str = ""

    def words(self, at: datetime) -> str:
        """The result, and what was computed from it."""
        return f"{reported(self.seen, at)}{self.computed}"

    def stands(self, at: datetime) -> str:
        """The result and the stretch in which it certainly lies, in words."""
        result = f"{self.name} {self.words(at)}"
        return result if self.place.row is None else f"{result} is {limits(self.place.row)}"


def electrolytes(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S59, S60 for high potassium and S63 for a low electrolyte, each at the tier of its band."""
    found: tuple[Finding, ...] = ()
    for each in newest(case, book, at):
        if each.place.undecided:
            calcium = each.seen.analyte in (CALCIUM, IONISED)
            code = "CALCIUM-UNDECIDED" if calcium else "ELECTROLYTE-UNDECIDED"
            found += undecided(book, code, each.name, each.seen, at)
        else:
            found += _tier(each, case, book, at)
    return found


def _tier(
    electrolyte: Electrolyte, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    seen, drawn_on = electrolyte.seen, day_of(electrolyte.seen, at)
    for code, what, repeat, others, effect in _TIERS:
        if code != electrolyte.place.finding:
            continue
        again = tuple(
            test._replace(analyte=seen.analyte) for test in next_test(book, repeat, drawn_on, code)
        )
        also = today(book, electrolyte.lacks, code, at) if electrolyte.lacks else ()
        for series in others:
            if series != _TROUGH or case.regimen is not None:
                also += asked(case, book, series, drawn_on, code, at)
        done = what.format_map(_TAKEN if case.on_tacrolimus else _NOT_YET)
        asks = effect is Effect.ASKS_FOR_LESS
        raising = partners(case, book, at, *_RAISING, DrugGroup.RAISES_POTASSIUM) if asks else ""
        stands = electrolyte.stands(at)
        hold: DoseProposal | None = None
        if code == _HELD:
            hold = doses.hold(f"hold: {stands[0].lower()}{stands[1:]}")
        return raised(
            book,
            code,
            f"{stands}: {done}.{f' Repeat it{by_when(again)}.' if again else ''}"
            f"{f' Review what raises potassium: {raising}.' if raising else ''}"
            f"{MAY_BE_WORSE if electrolyte.place.open_ended else ''}",
            inputs=((seen.analyte, electrolyte.words(at)),),
            proposal=hold,
            due_tests=again + also,
            effect=effect,
        )
    return ()


@once_a_question
def newest(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Electrolyte, ...]:
    """The newest potassium, magnesium and calcium that are known, each with its band.

    Ionised calcium stands for calcium where it was drawn on the same day or later.
    """
    total, ionised = case.newest(CALCIUM, at), case.newest(IONISED, at)
    if ionised is not None and (total is None or day_of(ionised, at) >= day_of(total, at)):
        calcium = _plain(IONISED, "Ionised calcium", case, book, at)
    else:
        calcium = _corrected_calcium(case, book, at)
    known = (
        _plain(POTASSIUM, "Potassium", case, book, at),
        _plain(MAGNESIUM, "Magnesium", case, book, at),
        calcium,
    )
    return tuple(each for each in known if each is not None)


def disturbances(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[str, ...]:
    """The electrolytes that are too low, in words: those whose band asks to correct them (S63).

    They are themselves a risk of QT prolongation (S62). High potassium has its own ECG (D12).
    """
    findings = book.index.findings
    return tuple(
        f"{each.name[0].lower()}{each.name[1:]} {each.words(at)}"
        for each in newest(case, book, at)
        if each.place.finding in findings and "S63" in findings[each.place.finding].statements
    )


def unknown(case: CaseFacts, at: datetime) -> tuple[str, ...]:
    """Which of potassium, magnesium and calcium have never been measured."""
    missing = [each for each in (POTASSIUM, MAGNESIUM) if case.newest(each, at) is None]
    if case.newest(CALCIUM, at) is None and case.newest(IONISED, at) is None:
        missing.append(CALCIUM)
    return tuple(missing)


def _plain(
    quantity: str, name: str, case: CaseFacts, book: RuleBook, at: datetime
) -> Electrolyte | None:
    seen = case.newest(quantity, at)
    if seen is None:
        return None
    rows = book.index.thresholds.get(quantity, ())
    unit = rows[0].unit if rows else seen.unit
    return Electrolyte(
        seen=seen,
        name=name,
        place=standing(rows, values(seen), book),
        computed=""
        if seen.unit == unit
        else f" ({seen.comparator or ''}{shown(seen.canonical, at_most=3)} {unit})",
    )


def _corrected_calcium(case: CaseFacts, book: RuleBook, at: datetime) -> Electrolyte | None:
    """D12c: total calcium in mmol/L + 0.02 × (40 − albumin in g/L), exact.

    Without an albumin of those days the total stands as it is, and the words say so.
    """
    seen, numbers = case.newest(CALCIUM, at), book.index.numbers
    mass, days = numbers.get("CALCIUM-MOLAR-MASS"), numbers.get("CALCIUM-ALBUMIN-DAYS")
    share, usual = numbers.get("CALCIUM-CORRECTION"), numbers.get("CALCIUM-USUAL-ALBUMIN")
    if seen is None or mass is None or days is None or share is None or usual is None:
        return None
    albumin = next(
        (
            other
            for other in case.results("albumin", at)
            if other.comparator is None and abs((day_of(other, at) - day_of(seen, at)).days) <= days
        ),
        None,
    )
    mmol_per_l = 10 / mass  # of 1 mg/dL, which is 10 mg/L
    if albumin is None:
        lacks, plus, how = "albumin", ZERO, "not corrected: no albumin of those days is known"
    else:
        lacks, plus = "", share * (usual - albumin.canonical * 10)  # 1 g/dL is 10 g/L
        how = f"corrected for albumin {reported(albumin, at)}"
    number = f"{seen.comparator or ''}{shown(seen.canonical * mmol_per_l + plus, at_most=3)}"
    return Electrolyte(
        seen=seen,
        name="Calcium",
        place=standing(
            book.index.thresholds.get("calcium-corrected", ()),
            scaled(values(seen), mmol_per_l, plus),
            book,
        ),
        computed=f" ({number} mmol/L, {how})",
        lacks=lacks,
    )


def potassium_beside(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S61, X11: a potassium-sparing diuretic, ACE inhibitor or ARB, taken or about to be.

    A caution where potassium is not high or not known, a warning from the limit of the row on.
    """
    seen = case.newest(POTASSIUM, at)
    place = (
        Standing()
        if seen is None
        else standing(book.index.thresholds.get("potassium-beside", ()), values(seen), book)
    )
    high, code = "POTASSIUM-DRUG-HIGH", "POTASSIUM-DRUG"
    result = "not known" if seen is None else reported(seen, at)
    found: tuple[Finding, ...] = ()
    for group, kind in _KINDS:
        for taken, row in of_group(case, book, at, group):
            begin = (
                f"{shown_name(taken, row.drug)} ({kind}) is "
                f"{'about to be given' if taken.planned else 'on the list'}"
            )
            inputs = (("drug", taken.drug), (POTASSIUM, result))
            if seen is not None and place.row is not None and place.finding == high:
                found += raised(
                    book,
                    high,
                    f"{begin} and potassium {result} is {limits(place.row)}: avoid the combination "
                    "with tacrolimus.",
                    inputs=inputs,
                )
                continue
            found += raised(
                book,
                code,
                f"{begin}: beside tacrolimus it can raise potassium, which is {result}. Watch "
                "potassium, and avoid the combination if it rises.",
                inputs=inputs,
                due_tests=() if seen is not None or found else today(book, POTASSIUM, code, at),
            )
    return found
