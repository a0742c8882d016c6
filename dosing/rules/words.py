"""The rows of a rule book as people read them: stretches, fractions, doses, and under what heading.

`told` says every field of a row once; a field that it leaves out would be a rule that nobody sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from enum import Enum

from dosing.rules.engine import rows
from dosing.rules.engine.rulebook import RuleBook
from patients.vocabulary import vocabulary
from tacroweb.numbers import format_decimal
from tacroweb.templatetags.components import ORIGINS, SEVERITIES
from tacroweb.templatetags.quantities import clinical_date, printed_unit

EMPTY = "empty"
NO_NUMBER = "No number until a clinic approves one"
COMMON = frozenset(each.name for each in fields(rows.Row))
_UNITS = {
    "1": "",
    "d": "days",
    "h": "h",
    "mo": "months",
    "wk": "weeks",
    "a": "years",
    "mg/d": "mg/day",
    "mg/kg/d": "mg/kg/day",
    "mg/m2": "mg/m²",
    "cm.kg/m4": "cm·kg/m⁴",
}
_SINGULAR = {"days": "day", "months": "month", "weeks": "week", "years": "year"}
# Quantities that are worked out from results, and so are no analytes of the vocabulary.
_QUANTITIES = {
    "child-pugh": "Child-Pugh score",
    "potassium-beside": "Potassium beside a drug that raises it",
    "calcium-corrected": "Calcium, corrected for albumin",
    "qtcf-rise": "QTc (Fridericia), rise above the baseline",
    "creatinine-ratio": "Creatinine as a multiple of the own baseline",
    "creatinine-rise-48h": "Creatinine, rise within 48 h",
    "creatinine-rise": "Creatinine, rise above its lowest value",
}
_WORDS = {
    "IR": "Immediate release",
    "ER": "Extended release, once daily",
    "LCP": "LCP extended release, once daily",
    "IV": "Intravenous",
    "SC": "Subcutaneous",
    "IM": "Intramuscular",
    "FIXED": "Fixed total a day",
    "WEIGHT": "By weight",
    "BELOW": "Below the target",
    "ABOVE": "Above the target",
    "FAR_BELOW": "Far below the target",
    "FAR_ABOVE": "Far above the target",
    "IN_TARGET": "In the target",
    "RAISES": "Raises the level",
    "LOWERS": "Lowers the level",
    "NEAREST": "To the nearest step, a tie down",
    "DOWN": "Down",
    "CUT_TO_FRACTION": "Cut to a fraction",
    "REDUCE": "Reduce; the prescriber decides how far",
    "INCREASE": "Increase; the prescriber decides how far",
    "RAISE_BACK": "Raise back towards the dose before, never above it",
    "STEP_DOWN": "Step down; the prescriber decides how far",
    "AVOID": "Avoid the drug",
    "STRONG_INHIBITOR_AZOLE": "Strong inhibitor (azole)",
    "ACE_INHIBITOR": "ACE inhibitor",
    "HCV_ANTIVIRAL": "Hepatitis C antiviral",
    "PROLONGS_QT": "Prolongs QT",
    "QT_RISK": "At risk of QT prolongation",
    "CKD": "Chronic kidney disease",
    "RAAS_BLOCKER": "On a drug that blocks the renin-angiotensin system",
    "TORSADES_DE_POINTES": "Torsades de pointes",
    "CONGENITAL_LONG_QT": "Congenital long QT",
    "PRES": "PRES",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One field, or several that make one quantity, in words.

    `table` and `code` name the row of the same book that the text is the code of.
    """

    label: str
    text: str
    table: str = ""
    code: str = ""

    @property
    def key(self) -> str:
        """The table as addresses and anchors spell it."""
        return table_key(self.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A part of a rule book as a clinician looks for it, and the tables that stand under it."""

    key: str
    title: str
    note: str
    tables: tuple[str, ...]


HEADINGS = (
    Heading(
        key="starting-doses",
        title="Starting doses",
        note="What a first dose is computed from.",
        tables=("starting_doses",),
    ),
    Heading(
        key="targets",
        title="Targets and level bands",
        note="When a sample is a trough, where a trough lies, and lower targets a clinic may set.",
        tables=("level_bands", "level_windows", "local_targets"),
    ),
    Heading(
        key="doses",
        title="Dose steps and rounding",
        note="How far one level may change the dose, and which doses can be dispensed.",
        tables=("dose_steps", "roundings", "strengths"),
    ),
    Heading(
        key="interactions",
        title="Interactions",
        note="What a drug that is started or stopped means for tacrolimus.",
        tables=(
            "interactions",
            "modifying_factors",
            "drug_classes",
            "drug_groups",
            "hold_drugs",
            "drug_notes",
        ),
    ),
    Heading(
        key="monitoring",
        title="Monitoring",
        note="What is measured before the first dose, after an event, and by the calendar.",
        tables=("baseline_items", "due_tests", "schedules"),
    ),
    Heading(
        key="thresholds",
        title="Thresholds by analyte",
        note="What is said of a result, or of a quantity worked out from results.",
        tables=("thresholds",),
    ),
    Heading(
        key="contraindications",
        title="Contraindications",
        note="Beside what tacrolimus is not given.",
        tables=("contraindications",),
    ),
    Heading(
        key="vaccines",
        title="Vaccines",
        note="Live vaccines, by their ATC code; every other vaccine is let through.",
        tables=("vaccines",),
    ),
    Heading(
        key="companion-regimens",
        title="Companion regimens",
        note="Treatment that is ordered beside tacrolimus, step by step.",
        tables=("companion_regimens",),
    ),
    Heading(
        key="outcomes",
        title="Outcomes",
        note="What studies saw: information, never a rule.",
        tables=("outcomes",),
    ),
    Heading(
        key="numbers",
        title="Numbers and fractions",
        note="Single quantities that the rules compute with.",
        tables=("numbers", "ratios"),
    ),
    Heading(
        key="findings",
        title="Findings",
        note="What the engine can say, how severe it is, and which statements it cites.",
        tables=("findings",),
    ),
    Heading(
        key="citations",
        title="Citations",
        note="Publications, labels and guidelines, and how each was read.",
        tables=("citations",),
    ),
)
_TITLES = {
    "hold_drugs": "Drugs that hold tacrolimus",
    "drug_notes": "What is said of single drugs",
    "drug_classes": "Drugs by class: the protocol’s, the label’s, the FDA’s",
    "drug_groups": "Drugs by group",
    "local_targets": "Lower targets in renal dysfunction",
    "level_windows": "When a sample is a trough",
    "baseline_items": "Before the first dose",
    "due_tests": "Series of tests after an event",
    "schedules": "Monitoring by the calendar",
}


def headings(book: RuleBook) -> Iterator[tuple[Heading, dict[str, tuple[rows.Row, ...]]]]:
    """The headings under which the book has rows, each with its tables that have any.

    A table that no heading names yet stands under its own.
    """
    tables = {name: held for name, held in book.tables().items() if held}
    for heading in HEADINGS:
        found = {name: tables.pop(name) for name in heading.tables if name in tables}
        if found:
            yield heading, found
    for name, held in tables.items():
        yield (
            Heading(key=table_key(name), title=table_title(name), note="", tables=(name,)),
            {name: held},
        )


def table_key(name: str) -> str:
    """A table's name as addresses and anchors spell it: level-bands."""
    return name.replace("_", "-")


def table_title(name: str) -> str:
    """What a table is called on a page."""
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def words(value: Enum | str) -> str:
    """A coded value as people say it; empty stays empty."""
    text = value.name if isinstance(value, rows.Severity) else str(getattr(value, "value", value))
    if known := _WORDS.get(text) or ORIGINS.get(text):
        return known
    if text in SEVERITIES:
        _, known = SEVERITIES[text]
        return known
    plain = text.replace("_", " ").replace("-", " ").lower() if text.isupper() else text
    return plain[:1].upper() + plain[1:]


def unit_words(unit: str) -> str:
    """A UCUM unit as people write it: mg/d is mg/day; the unit 1 and a mere note are nothing."""
    return "" if unit.startswith("{") else _UNITS.get(unit, printed_unit(unit))


def amount(value: Decimal | int, unit: str) -> str:
    """A number with its unit: 0.075 mg/kg/day, 28 days, 1 day."""
    number = format_decimal(Decimal(value))
    spoken = unit_words(unit)
    if number == "1":
        spoken = _SINGULAR.get(spoken, spoken)
    return f"{number} {spoken}".strip()


def span(low: Decimal | int, high: Decimal | int, unit: str) -> str:
    """A range with both ends: 1 to 3 mg/day; one number where the ends are alike."""
    if low == high:
        return amount(low, unit)
    return f"{format_decimal(Decimal(low))} to {amount(high, unit)}"


def stretch(row: rows.BoundedRow) -> str:
    """The values of a bounded row in words: which end belongs to it, and which does not."""
    if row.low is None and row.high is None:
        return "any value"
    if row.low is None:
        assert row.high is not None  # noqa: S101  # or both were open
        return f"{'up to' if row.high_included else 'below'} {amount(row.high, row.unit)}"
    if row.high is None:
        least = amount(row.low, row.unit)
        return f"{least} or more" if row.low_included else f"above {least}"
    low, high = format_decimal(row.low), amount(row.high, row.unit)
    if row.low == row.high:
        return f"exactly {high}"
    if row.low_included:
        return f"{low} to {high}, both included" if row.high_included else f"{low} to below {high}"
    return f"above {low} up to {high}" if row.high_included else f"above {low} and below {high}"


def told(row: rows.Row) -> tuple[Told, ...]:
    """Every field of a row beside those that all rows have, in words."""
    return tuple(_told(row))


def differences(old: rows.Row, new: rows.Row) -> Iterator[tuple[str, str, str]]:
    """What two editions of a row say otherwise: its label, old and new, "empty" where nothing is.

    A field whose difference no label shows stands under its own name: nothing is hidden.
    """
    before = {each.label: each.text for each in told(old)}
    after = {each.label: each.text for each in told(new)}
    found = [
        (label, before.get(label) or EMPTY, after.get(label) or EMPTY)
        for label in dict.fromkeys((*before, *after))
        if before.get(label) != after.get(label)
    ]
    yield from found
    for each in fields(new):
        was, now = getattr(old, each.name), getattr(new, each.name)
        if was != now and (each.name in COMMON or not found):
            yield words(each.name), _one(was), _one(now)


def _one(value: object) -> str:
    """One field's value as a person reads it."""
    match value:
        case None | "" | ():
            return EMPTY
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(map(str, value))
        case date():
            return clinical_date(value)
        case Enum():
            return words(value)
    return str(value)


def _told(row: rows.Row) -> Iterator[Told]:
    match row:
        case rows.FindingRow():
            yield Told(label="Severity", text=words(row.severity))
        case rows.CitationRow():
            yield Told(label="Title", text=row.title)
            yield Told(label="Reference", text=row.reference)
            yield Told(label="Identifier", text=row.identifier)
            yield Told(label="Read", text=words(row.read))
        case rows.NumberRow():
            yield Told(label="Value", text=amount(row.value, row.unit))
        case rows.RatioRow():
            yield Told(label="Fraction", text=_fraction(row.numerator, row.denominator))
        case rows.StartingDoseRow():
            yield Told(label="Basis", text=words(row.basis))
            yield Told(label="Dose", text=span(row.low, row.high, row.unit))
        case rows.LevelBandRow():
            yield Told(label="Trough", text=stretch(row))
            yield Told(label="Band", text=words(row.band))
        case rows.LevelWindowRow():
            yield Told(label="Formulation", text=words(row.formulation))
            yield Told(label="A trough", text=_hours(row.valid_from_h, row.valid_to_h))
            yield Told(label="Usable with a flag", text=_hours(row.usable_from_h, row.usable_to_h))
        case rows.DoseStepRow():
            yield Told(label="Side", text=words(row.side))
            yield Told(label="Distance from the target", text=stretch(row))
            share = _fraction(row.numerator, row.denominator)
            yield Told(label="Change at most", text=f"{share} of the dose")
        case rows.RoundingRow():
            yield Told(label="Act", text=words(row.act))
            yield Told(label="Rounded", text=words(row.mode))
        case rows.StrengthRow():
            yield Told(label="Formulation", text=words(row.formulation))
            yield Told(label="Form", text=words(row.form))
            yield Told(label="Strength", text=amount(row.strength_mg, "mg"))
        case rows.DrugClassRow():
            yield Told(label="Drug", text=words(row.drug))
            yield Told(label="Protocol", text=words(row.seed_class))
            yield Told(label="Label", text=words(row.label_class))
            yield Told(label="FDA", text=words(row.fda_class))
        case rows.DrugGroupRow():
            yield Told(label="Group", text=words(row.group))
            yield Told(label="Drug", text=words(row.drug))
            counts = "" if row.factor is None else f"{format_decimal(row.factor)} mg of prednisone"
            yield Told(label="1 mg counts as", text=counts)
        case rows.InteractionRow():
            yield from _interaction(row)
        case rows.ModifyingFactorRow():
            yield _link("Interaction", "interactions", row.interaction)
            yield Told(label="Drug", text=words(row.drug) or "All of them")
            yield Told(label="Factor", text=row.factor)
            yield Told(label="Action", text=row.action)
        case rows.HoldDrugRow():
            yield Told(label="Drug", text=words(row.drug))
        case rows.DrugNoteRow():
            yield Told(label="Drug", text=words(row.drug))
            yield Told(label="When", text=words(row.change))
            yield Told(label="Note", text=row.note)
        case rows.ThresholdRow():
            yield Told(label="Quantity", text=_measured(row.quantity))
            yield Told(label="Value", text=stretch(row))
            yield (
                _link("Finding", "findings", row.finding)
                if row.finding
                else Told(label="Finding", text="Nothing is said")
            )
        case rows.LocalTargetRow():
            yield Told(label="Stage", text=row.stage)
            yield Told(label="Target trough", text=_local_target(row))
            yield Told(label="Options elsewhere", text=row.option)
        case rows.BaselineItemRow():
            yield Told(label="Test", text=_item(row))
            yield Told(label="Not older than", text=amount(row.look_back_days, "d"))
            yield _link("Finding", "findings", row.finding)
        case rows.DueTestRow():
            yield Told(label="Series", text=words(row.series))
            yield Told(label="Test", text=f"{row.number}: {_measured(row.analyte)}")
            yield Told(label="Due on day", text=str(row.due_day))
            yield Told(label="Done from day", text=str(row.earliest_day))
            yield Told(label="Late after day", text=str(row.latest_day))
        case rows.ScheduleRow():
            yield Told(label="Test", text=_measured(row.analyte))
            yield Told(label="Phase", text=words(row.phase))
            yield Told(label="For", text=_conditions(row.condition))
            yield Told(label="Every", text=amount(row.every_days, "d"))
            yield Told(label="Grace", text=amount(row.grace_days, "d"))
            yield _link("Finding", "findings", row.finding)
        case rows.ContraindicationRow():
            yield Told(label="Kind", text="Condition" if row.kind == "EVENT" else words(row.kind))
            yield Told(label="Name", text=words(row.name))
            yield _link("Finding", "findings", row.finding)
        case rows.VaccineRow():
            yield Told(label="ATC", text=row.atc)
            yield Told(label="Vaccine", text=row.name)
        case rows.CompanionRegimenRow():
            yield Told(label="Regimen", text=f"{row.regimen}: {row.title}")
            yield Told(label="Step", text=str(row.step))
            yield Told(label="Drug", text=words(row.drug))
            yield Told(label="Route", text=words(row.route))
            yield Told(label="Dose", text=span(row.low, row.high, row.unit))
            yield Told(label="Rhythm", text=_rhythm(row))
        case rows.OutcomeRow():
            yield Told(label="Measure", text=words(row.measure))
            value = "" if row.value is None else amount(row.value, row.unit)
            yield Told(label="Value", text=value)
            yield Told(label="95 % interval", text=_ends(row.low, row.high, row.unit))
            patients = "" if row.patients is None else str(row.patients)
            yield Told(label="Patients", text=patients)
            yield Told(label="Months", text=_ends(row.from_month, row.to_month, "1"))
        case _:
            for each in fields(row):
                if each.name not in COMMON:
                    value = getattr(row, each.name)
                    yield Told(label=words(each.name), text="" if value is None else str(value))


def _interaction(row: rows.InteractionRow) -> Iterator[Told]:
    """The ten fields of a minimal interaction record, and what it means for the dose."""
    yield Told(label="Drugs", text=", ".join(map(words, row.drugs)))
    yield Told(label="With", text=", ".join(map(words, row.with_drugs)))
    yield Told(label="When", text=words(row.change))
    yield Told(label="Effect", text=words(row.effect))
    act = words(row.act)
    if row.numerator is not None and row.denominator is not None:
        act = f"{act}: {_fraction(row.numerator, row.denominator)} of the dose"
    yield Told(label="Dose", text=act)
    yield Told(label="Severity", text=words(row.severity))
    yield Told(label="Consequence", text=row.consequence)
    yield Told(label="Seriousness", text=row.seriousness)
    yield Told(label="Mechanism", text=row.mechanism)
    yield Told(label="Action", text=row.action)
    yield Told(label="Frequency of exposure", text=row.frequency_of_exposure)
    yield Told(label="Frequency of harm", text=row.frequency_of_harm)
    yield Told(label="Evidence", text=row.evidence)


def _link(label: str, table: str, code: str) -> Told:
    return Told(label=label, text=code, table=table, code=code)


def _fraction(numerator: int, denominator: int) -> str:
    return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"


def _hours(low: Decimal, high: Decimal) -> str:
    return f"{span(low, high, 'h')} after the dose"


def _measured(key: str) -> str:
    known = vocabulary().analyte(key)
    return known.name if known else _QUANTITIES.get(key, words(key.replace("-", " ")))


def _item(row: rows.BaselineItemRow) -> str:
    """What is measured, and what it is recorded as where that has another name."""
    name, known = row.name[:1].upper() + row.name[1:], _measured(row.analyte)
    return name if name.casefold() == known.casefold() else f"{name} (recorded as {known})"


def _local_target(row: rows.LocalTargetRow) -> str:
    if row.low is None or row.high is None:
        return NO_NUMBER
    return span(row.low, row.high, row.unit)


def _conditions(condition: str) -> str:
    """For whom a calendar is, or until when; everybody where nothing narrows it."""
    if not condition:
        return "Everybody"
    parts = [words(each) for each in condition.split(" and ")]
    return " and ".join([parts[0], *(part[:1].lower() + part[1:] for part in parts[1:])])


def _ends(low: Decimal | int | None, high: Decimal | int | None, unit: str) -> str:
    if low is None or high is None:
        one = low if high is None else high
        return "" if one is None else amount(one, unit)
    return span(low, high, unit)


def _rhythm(row: rows.CompanionRegimenRow) -> str:
    parts = []
    if row.days_a_week is not None:
        parts.append(f"{row.days_a_week} days a week")
    if row.weeks is not None:
        parts.append(f"for {amount(row.weeks, 'wk')}")
    if row.every:
        parts.append(row.every)
    if row.taper:
        parts.append("tapered slowly")
    return ", ".join(parts).replace("week, for", "week for")
