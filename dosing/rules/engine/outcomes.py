"""What can be expected of the treatment, beside what this patient had: S80-S84, D29, X21."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction

from dosing.rules.engine.advice import DueTest, Finding, next_test, raised
from dosing.rules.engine.comedication import taken_of
from dosing.rules.engine.facts import CaseFacts, CoMedication, Intent, Observation, Route, Sard
from dosing.rules.engine.quantities import day, shown, whole_months
from dosing.rules.engine.rows import DrugClass, DrugGroup, DrugGroupRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.selection import outside_protocol

# What S80 names: the quantity, its name, its unit in words.
_MEASURES = (
    ("fvc-percent", "FVC", "% of predicted"),
    ("dlco-percent", "DLCO", "% of predicted"),
    ("six-minute-walk", "six-minute walk", "m"),
    ("quality-of-life", "quality of life", "points"),
)
# The falls that are flagged: the quantity, its name, the number that bounds it, in % of the
# patient's own baseline.
_FALLS = (
    ("fvc-percent", "FVC", "FVC-WORSE-PERCENT"),
    ("dlco-percent", "DLCO", "DLCO-WORSE-PERCENT"),
)
_SERIES = (("fvc-percent", "RESPONSE-FVC"), ("dlco-percent", "RESPONSE-DLCO"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A quantity before the treatment (or as early in it as is known) and now."""

    before: Observation
    latest: Observation
    from_before_start: bool

    @property
    def change_percent(self) -> Fraction | None:
        """The change in % of the baseline, exact; None where the baseline is 0."""
        if not self.before.canonical:
            return None
        return (self.latest.canonical / self.before.canonical - 1) * 100


def _therapy(case: CaseFacts, at: datetime) -> tuple[date, int] | None:
    """The day the treatment began and its completed months at a review; else None."""
    if case.intent is not Intent.REVIEW or case.regimen is None or outside_protocol(case):
        return None
    begun = case.regimen.started_on
    return None if begun is None else (begun, whole_months(begun, at.date()))


def response_tests(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[DueTest, ...]:
    """D29: FVC and DLCO some months after the start, the next one that no result answers."""
    therapy = _therapy(case, at)
    if therapy is None or case.diagnosis.sard is not Sard.IIM:
        return ()
    due: tuple[DueTest, ...] = ()
    for analyte, series in _SERIES:
        newest = case.newest(analyte, at)
        done_on = None if newest is None else newest.at.astimezone(at.tzinfo).date()
        due += next_test(book, series, therapy[0], "OUTCOME-RESPONSE", last_done=done_on)
    return due


def response(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S80: from its first month on, the gains that can be expected and the patient's own."""
    therapy = _therapy(case, at)
    window = book.index.outcomes.get("RESPONSE-WINDOW")
    if therapy is None or case.diagnosis.sard is not Sard.IIM or window is None:
        return ()
    begun, months = therapy
    if window.from_month is None or window.to_month is None or months < window.from_month:
        return ()
    words = "; ".join(
        _response_words(name, unit, _response(analyte, begun, case, at), at)
        for analyte, name, unit in _MEASURES
    )
    return raised(
        book,
        "OUTCOME-RESPONSE",
        f"Month {months} of tacrolimus: {window.measure} can be expected within "
        f"{window.from_month} to {window.to_month} months. {words[0].upper()}{words[1:]}.",
        inputs=(("started_on", begun.isoformat()), ("months", str(months))),
    )


def _response(analyte: str, begun: date, case: CaseFacts, at: datetime) -> Response | None:
    """The newest exact result of the treatment against the patient's own baseline.

    That is the newest up to the day of the start, else the earliest on record, which is flagged.
    """
    exact = [seen for seen in case.results(analyte, at) if seen.comparator is None]
    if len(exact) < 2:
        return None
    before = next((seen for seen in exact if _day(seen, at) <= begun), None)
    if before is exact[0]:
        return None
    return Response(
        before=before or exact[-1], latest=exact[0], from_before_start=before is not None
    )


def _day(seen: Observation, at: datetime) -> date:
    return seen.at.astimezone(at.tzinfo).date()


def _response_words(name: str, unit: str, known: Response | None, at: datetime) -> str:
    if known is None:
        return f"{name}: no two results to compare"
    change = known.change_percent
    flag = "" if known.from_before_start else ", the earliest on record"
    changed = "" if change is None else f" ({_signed(change)} % of the baseline)"
    return (
        f"{name} {shown(known.before.canonical)} {unit} on {day(_day(known.before, at))}{flag}, "
        f"{shown(known.latest.canonical)} {unit} on {day(_day(known.latest, at))}{changed}"
    )


def _signed(change: Fraction) -> str:
    sign = "−" if change < 0 else "+"
    return f"{sign}{shown(abs(change), at_most=1)}"


def worsening(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D29: FVC or DLCO has fallen by the limit or more, in % of the patient's own baseline."""
    therapy = _therapy(case, at)
    if therapy is None:
        return ()
    fallen = []
    inputs: tuple[tuple[str, str], ...] = ()
    for analyte, name, number in _FALLS:
        known, limit = _response(analyte, therapy[0], case, at), book.index.numbers.get(number)
        change = None if known is None else known.change_percent
        if known is None or limit is None or change is None or -change < limit:
            continue
        fallen.append(
            f"{_response_words(name, '% of predicted', known, at)}, a fall of {shown(limit)} % or "
            "more"
        )
        inputs += ((analyte, f"{_signed(change)} %"),)
    if not fallen:
        return ()
    both = len(fallen) == len(_FALLS)
    return raised(
        book,
        "OUTCOME-WORSE",
        f"Worse than before the treatment: {'; '.join(fallen)}. "
        + (
            "Two signs of worsening together meet the definition of refractory disease."
            if both
            else "Together with a second sign, such as symptoms, it meets the definition of "
            "refractory disease."
        ),
        inputs=inputs,
    )


def survival(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S81, X21: the figure of the trial with its interval and its n, beside a corticosteroid."""
    figure = book.index.outcomes.get("SURVIVAL-52-WEEKS")
    if (
        figure is None
        or _therapy(case, at) is None
        or case.diagnosis.sard is not Sard.IIM
        or not taken_of(case, book, at, DrugClass.CORTICOSTEROID)
    ):
        return ()
    ends = [shown(value, at_least=1) for value in (figure.low, figure.high) if value is not None]
    interval = f" {' to '.join(ends)} {figure.unit}" if ends else ""
    patients = "" if figure.patients is None else f", n = {figure.patients}"
    value = "" if figure.value is None else f"{shown(figure.value)} {figure.unit} "
    return raised(
        book,
        "OUTCOME-SURVIVAL",
        f"With tacrolimus and a corticosteroid {value}{figure.measure}{interval}{patients}. The "
        "trial had no valid control arm.",
    )


def steroid_sparing(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S82 beside the patient's own fall of the oral corticosteroid; S83 where there is one.

    S82 is said once the dose has fallen, and to everyone on a corticosteroid from the first month
    in which a response can be expected.
    """
    therapy = _therapy(case, at)
    figure = book.index.outcomes.get("STEROID-FALL")
    if therapy is None or figure is None or figure.value is None:
        return ()
    begun, months = therapy
    today = at.date()
    before, now = _oral_steroid(case, book, begun), _oral_steroid(case, book, today)
    fall = before - now if before is not None and now is not None else None
    fallen = fall is not None and fall > 0
    window = book.index.outcomes.get("RESPONSE-WINDOW")
    late = window is not None and window.from_month is not None and months >= window.from_month
    on_steroid = taken_of(case, book, at, DrugClass.CORTICOSTEROID)
    if not fallen and not (late and on_steroid):
        return ()
    if before is None or now is None:
        own = "The patient's own doses are not all recorded"
    else:
        own = (
            f"Here: {shown(before)} mg/day on {day(begun)}, {shown(now)} mg/day now "
            f"({shown(before)} − {shown(now)} = {shown(before - now)} mg/day, as prednisone)"
        )
    inputs = (
        ("at_start_mg_per_day", "not known" if before is None else shown(before)),
        ("now_mg_per_day", "not known" if now is None else shown(now)),
    )
    found = raised(
        book,
        "OUTCOME-STEROID-SPARING",
        f"Tacrolimus lets the corticosteroid fall, by {shown(figure.value)} mg/day or more on "
        f"average, and some patients stop it. {own}.",
        inputs=inputs,
    )
    if fallen:
        found += raised(
            book,
            "OUTCOME-STEROID-TOXICITY",
            "Less corticosteroid means less of its toxicity: high glucose, high lipids, fractures.",
            inputs=inputs,
        )
    return found


def _oral_steroid(case: CaseFacts, book: RuleBook, on: date) -> Fraction | None:
    """The oral corticosteroid on the day, mg/day of prednisone; None where a dose is not known.

    Infusions are pulses and left out.
    """
    known = book.index.groups.get(DrugGroup.PREDNISONE_EQUIVALENT, {})
    total = Fraction(0)
    for drug, row in _oral_steroids(case, known):
        if drug.started_on is None:
            return None
        if drug.started_on > on or (drug.stopped_on is not None and drug.stopped_on <= on):
            continue
        dose = drug.dose_on(on)
        if dose is None or row.factor is None:
            return None
        total += Fraction(dose) * Fraction(row.factor)
    return total


def _oral_steroids(
    case: CaseFacts, known: dict[str, DrugGroupRow]
) -> Iterator[tuple[CoMedication, DrugGroupRow]]:
    for drug in case.co_medications:
        if drug.route in (Route.ORAL, None) and not drug.planned:
            for name in drug.ingredients:
                if name in known:
                    yield drug, known[name]


def duration(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S84: how long the treatment was studied, from the shortest of those times on."""
    therapy = _therapy(case, at)
    studied = book.index.outcomes.get("TREATMENT-DURATION")
    if therapy is None or studied is None or studied.from_month is None:
        return ()
    begun, months = therapy
    if months < studied.from_month:
        return ()
    average = "" if studied.value is None else f", {shown(studied.value)} on average"
    return raised(
        book,
        "OUTCOME-DURATION",
        f"Month {months} of tacrolimus. {studied.measure} {studied.from_month} to "
        f"{studied.to_month} months{average}: long treatment is often needed and well tolerated. "
        "The source of these figures is not identified.",
        inputs=(("started_on", begun.isoformat()), ("months", str(months))),
    )
