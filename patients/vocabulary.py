"""The vocabulary as a file: drugs, analytes with their units, vaccines; no database is needed."""

import re
import tomllib
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from tacroweb.numbers import parse_decimal

FILE = Path(__file__).with_name("vocabulary.toml")
STORED_PLACES = Decimal("0.000001")
# What is usually measured together, under the name that people order it by, in the order of a
# laboratory's report.
PANELS: dict[str, tuple[str, ...]] = {
    "Tacrolimus": ("tacrolimus-trough",),
    "Blood count with differential": (
        "wbc",
        "neutrophils",
        "lymphocytes",
        "eosinophils",
        "haemoglobin",
        "haematocrit",
        "mcv",
        "platelets",
    ),
    "Renal function": ("creatinine", "bun", "egfr"),
    "Electrolytes": ("potassium", "magnesium", "calcium", "calcium-ionised"),
    "Liver tests": ("alt", "ast", "alp", "bilirubin", "albumin"),
    "Glucose and HbA1c": ("glucose", "hba1c"),
    "Lipids": ("cholesterol", "ldl", "hdl", "triglycerides"),
    "Blood pressure": ("systolic-bp", "diastolic-bp"),
    "Weight and height": ("weight", "height"),
    "Lung function": ("spo2", "fvc-percent", "dlco-percent", "six-minute-walk"),
    "Quality of life": ("quality-of-life",),
    "Heart": ("qtcf", "lvef", "nt-probnp"),
    "Inflammation": ("crp", "ferritin"),
}
_VACCINE_CODE = re.compile(r"J07[A-Z]{2}[0-9]{2}")


class UnknownUnit(ValueError):
    """A unit that the vocabulary does not list for the analyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drug:
    """One drug. Rules name drugs by `name`; a combination fires the rules of its ingredients."""

    name: str
    aliases: tuple[str, ...]
    ingredients: tuple[str, ...]
    atc: tuple[str, ...]
    rxcui: str
    rxcui_verified: bool
    code_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """An accepted unit: canonical value = value × numerator / denominator, exactly."""

    unit: str
    numerator: Decimal
    denominator: Decimal
    source: str
    factor: Fraction = field(init=False)

    def __post_init__(self) -> None:
        factor = Fraction(self.numerator) / Fraction(self.denominator)
        object.__setattr__(self, "factor", factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyte:
    """One measurable quantity. Limits are in the canonical unit, None where none is set."""

    key: str
    name: str
    kind: str
    loinc: str
    loinc_verified: bool
    unit: str
    plausible_low: Decimal | None
    plausible_high: Decimal | None
    reference_low: Decimal | None
    reference_high: Decimal | None
    limits_origin: str
    limits_source: str
    limits_approved: bool
    units: tuple[Unit, ...]

    def unit_named(self, unit: str) -> Unit:
        """The accepted unit `unit`, micro written `u`, `µ` or `μ`; raises UnknownUnit."""
        plain = plain_unit(unit)
        for known in self.units:
            if known.unit == plain:
                return known
        accepted = ", ".join(known.unit for known in self.units)
        raise UnknownUnit(f"{self.name} is not measured in {unit!r}; use one of: {accepted}")

    def exactly(self, value: Decimal, unit: str) -> Fraction:
        """`value` in the canonical unit without any rounding; raises UnknownUnit."""
        factor = self.unit_named(unit).factor
        return Fraction(value) if factor == 1 else Fraction(value) * factor

    def to_canonical(self, value: Decimal, unit: str) -> Decimal:
        """`value` in the canonical unit, to the six decimals that are stored; raises UnknownUnit.

        Rounding is half to even and only for storage and display: the rules read `exactly`.
        """
        exact = self.exactly(value, unit)
        scaled = exact / Fraction(STORED_PLACES)
        return (Decimal(round(scaled)) * STORED_PLACES).quantize(STORED_PLACES, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vaccine:
    """One vaccine. `origin` LABEL: live by label or EU texts, not on the protocol's own list."""

    name: str
    aliases: tuple[str, ...]
    atc: tuple[str, ...]
    live: bool
    origin: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Everything that a record may name, with the ways to find it."""

    drugs: tuple[Drug, ...]
    analytes: tuple[Analyte, ...]
    vaccines: tuple[Vaccine, ...]
    _drugs: dict[str, Drug] = field(repr=False, compare=False)
    _analytes: dict[str, Analyte] = field(repr=False, compare=False)
    _vaccines: dict[str, Vaccine] = field(repr=False, compare=False)

    def drug(self, name: str) -> Drug | None:
        """The drug of this generic name or alias, whatever the case; None if it is not listed."""
        return self._drugs.get(_key(name))

    def analyte(self, key_or_loinc: str) -> Analyte | None:
        """The analyte of this key or LOINC code; None if it is not listed."""
        return self._analytes.get(_key(key_or_loinc))

    def vaccine(self, name_or_atc: str) -> Vaccine | None:
        """The vaccine of this name, alias or ATC code; None if it is neither known nor under J07.

        A code under J07 that the list does not name is a vaccine that is not live.
        """
        known = self._vaccines.get(_key(name_or_atc))
        code = name_or_atc.strip().upper()
        if known is None and _VACCINE_CODE.fullmatch(code):
            return Vaccine(
                name=code,
                aliases=(),
                atc=(code,),
                live=False,
                origin="SEED",
                source="an ATC code under J07 that the list of live vaccines does not name",
            )
        return known


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of this release, read once a process."""
    return read(FILE.read_text(encoding="utf-8"))


def read(text: str) -> Vocabulary:
    """A vocabulary from TOML; ValueError or KeyError where the file is not as it must be."""
    tables = tomllib.loads(text)
    drugs = tuple(_drug(row) for row in tables["drugs"])
    analytes = tuple(_analyte(row) for row in tables["analytes"])
    vaccines = tuple(_vaccine(row) for row in tables["vaccines"])
    by_drug: dict[str, Drug] = {}
    for drug in drugs:
        _put(by_drug, drug, (drug.name, *drug.aliases))
    by_analyte: dict[str, Analyte] = {}
    for analyte in analytes:
        _put(by_analyte, analyte, (analyte.key, analyte.loinc) if analyte.loinc else (analyte.key,))
    by_vaccine: dict[str, Vaccine] = {}
    for vaccine in vaccines:
        _put(by_vaccine, vaccine, (vaccine.name, *vaccine.aliases, *vaccine.atc))
    return Vocabulary(
        drugs=drugs,
        analytes=analytes,
        vaccines=vaccines,
        _drugs=by_drug,
        _analytes=by_analyte,
        _vaccines=by_vaccine,
    )


def plain_unit(unit: str) -> str:
    """The unit with micro as UCUM's `u`: the micro sign U+00B5 and the Greek mu U+03BC alike."""
    return unit.strip().replace("\u00b5", "u").replace("\u03bc", "u")


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _put(index: dict[str, Any], row: object, names: tuple[str, ...]) -> None:
    for name in names:
        if index.setdefault(_key(name), row) is not row:
            raise ValueError(f"{name} stands twice in the vocabulary")


def _limit(row: dict[str, Any], key: str) -> Decimal | None:
    return parse_decimal(row[key], what=key) if key in row else None


def _drug(row: dict[str, Any]) -> Drug:
    return Drug(
        name=row["name"],
        aliases=tuple(row.get("aliases", ())),
        ingredients=tuple(row.get("ingredients", (row["name"],))),
        atc=tuple(row.get("atc", ())),
        rxcui=row.get("rxcui", ""),
        rxcui_verified=row["rxcui_verified"],
        code_source=row["code_source"],
    )


def _analyte(row: dict[str, Any]) -> Analyte:
    return Analyte(
        key=row["key"],
        name=row["name"],
        kind=row["kind"],
        loinc=row.get("loinc", ""),
        loinc_verified=row.get("loinc_verified", False),
        unit=row["unit"],
        plausible_low=_limit(row, "plausible_low"),
        plausible_high=_limit(row, "plausible_high"),
        reference_low=_limit(row, "reference_low"),
        reference_high=_limit(row, "reference_high"),
        limits_origin=row["limits_origin"],
        limits_source=row["limits_source"],
        limits_approved=row["limits_approved"],
        units=tuple(
            Unit(
                unit=unit["unit"],
                numerator=Decimal(unit["numerator"]),
                denominator=Decimal(unit["denominator"]),
                source=unit["source"],
            )
            for unit in row["units"]
        ),
    )


def _vaccine(row: dict[str, Any]) -> Vaccine:
    return Vaccine(
        name=row["name"],
        aliases=tuple(row.get("aliases", ())),
        atc=tuple(row["atc"]),
        live=row["live"],
        origin=row["origin"],
        source=row["source"],
    )
