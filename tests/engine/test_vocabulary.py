"""The vocabulary file: names are found, units convert exactly, every number says its source."""

from decimal import Decimal
from fractions import Fraction

import pytest

from dosing.rules.engine.rows import DrugClass
from patients import vocabulary as words
from patients.vocabulary import UnknownUnit, vocabulary
from tests.engine.given import book


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("rifampin", "rifampin"),
        ("RIFAMPICIN", "rifampin"),
        ("ciclosporin", "cyclosporine"),
        ("Acyclovir", "aciclovir"),
        ("hypericum perforatum", "St John's wort"),
        ("phenobarbitone", "phenobarbital"),
        ("Paxlovid", "nirmatrelvir/ritonavir"),
        ("Epidiolex", "cannabidiol"),
        ("Septrin", "co-trimoxazole"),
        ("MMF", "mycophenolate mofetil"),
        ("Myfortic", "mycophenolic acid"),
        ("Advagraf", "tacrolimus"),
        ("Wuzhi", "Schisandra sphenanthera extract"),
        ("grapefruit juice", "grapefruit"),
        ("  Seville   orange ", "grapefruit"),
    ],
)
def test_a_drug_is_found_by_any_of_its_names(written: str, name: str) -> None:
    found = vocabulary().drug(written)
    assert found is not None
    assert found.name == name


def test_an_unknown_drug_is_none() -> None:
    assert vocabulary().drug("wonder root") is None


def test_a_combination_names_its_ingredients_and_a_single_drug_itself() -> None:
    paxlovid, rifampin = vocabulary().drug("paxlovid"), vocabulary().drug("rifampin")
    assert paxlovid is not None
    assert rifampin is not None
    assert "ritonavir" in paxlovid.ingredients
    assert rifampin.ingredients == ("rifampin",)


def test_every_drug_that_the_rules_name_is_in_the_vocabulary() -> None:
    for row in (*book().drug_classes, *book().hold_drugs, *book().drug_notes):
        found = vocabulary().drug(row.drug)
        assert found is not None, row.drug
        assert found.name == row.drug


def test_every_drug_of_the_seed_lists_is_classed() -> None:
    counted = {
        each: sum(row.seed_class == each for row in book().drug_classes) for each in DrugClass
    }
    assert counted[DrugClass.STRONG_INHIBITOR_AZOLE] == 4
    assert counted[DrugClass.STRONG_INHIBITOR] == 4
    assert counted[DrugClass.MODERATE_INHIBITOR] == 5
    assert counted[DrugClass.STRONG_INDUCER] == 6


def test_every_analyte_that_the_rules_read_is_in_the_vocabulary() -> None:
    for row in (*book().baseline_items, *book().due_tests):
        assert vocabulary().analyte(row.analyte) is not None, row.analyte


def test_an_analyte_is_found_by_key_or_loinc() -> None:
    by_key, by_code = vocabulary().analyte("creatinine"), vocabulary().analyte("2160-0")
    assert by_key is by_code is not None


@pytest.mark.parametrize(
    ("key", "value", "unit", "exact"),
    [
        ("creatinine", "88.4", "umol/L", Fraction(1)),
        ("creatinine", "88.4", "µmol/L", Fraction(1)),
        ("creatinine", "88.4", "μmol/L", Fraction(1)),
        ("tacrolimus-trough", "12.4", "nmol/L", Fraction(10)),
        ("tacrolimus-trough", "7.2", "ug/L", Fraction(36, 5)),
        ("bun", "5", "mmol/L", Fraction(5000, 357)),
        ("magnesium", "2.0", "mg/dL", Fraction("0.8228")),
        ("glucose", "5.551", "mmol/L", Fraction(100)),
        ("triglycerides", "1.129", "mmol/L", Fraction(100)),
        ("weight", "100", "[lb_av]", Fraction("45.359237")),
        ("platelets", "150", "10*9/L", Fraction(150)),
        ("haemoglobin", "129", "g/L", Fraction("12.9")),
    ],
)
def test_units_convert_exactly(key: str, value: str, unit: str, exact: Fraction) -> None:
    analyte = vocabulary().analyte(key)
    assert analyte is not None
    assert analyte.exactly(Decimal(value), unit) == exact
    stored = analyte.to_canonical(Decimal(value), unit)
    assert abs(Fraction(stored) - exact) <= Fraction(1, 2_000_000)


def test_an_unknown_unit_is_refused_and_the_accepted_ones_are_named() -> None:
    potassium = vocabulary().analyte("potassium")
    assert potassium is not None
    with pytest.raises(UnknownUnit, match="use one of: mmol/L"):
        potassium.to_canonical(Decimal("4.2"), "mg/dL")


def test_every_factor_and_every_limit_says_where_it_comes_from() -> None:
    for analyte in vocabulary().analytes:
        assert analyte.units[0].unit == analyte.unit
        assert all(unit.source and unit.numerator > 0 < unit.denominator for unit in analyte.units)
        assert (analyte.limits_origin, analyte.limits_approved) == ("LOCAL", False)
        low, high = analyte.plausible_low, analyte.plausible_high
        assert low is not None
        assert high is not None
        assert low < high
    for drug in vocabulary().drugs:
        assert drug.code_source
        assert drug.rxcui or not drug.rxcui_verified


@pytest.mark.parametrize(
    ("written", "live"),
    [
        ("yellow fever", True),
        ("J07BL01", True),
        ("MMR", True),
        ("typhoid, oral", True),
        ("J07AP03", False),
        ("influenza, inactivated", False),
        ("J07BB03", True),
        ("J07BK03", False),
        ("J07AL02", False),
    ],
)
def test_a_vaccine_is_live_by_its_code(written: str, live: bool) -> None:
    found = vocabulary().vaccine(written)
    assert found is not None
    assert found.live is live


def test_what_is_no_vaccine_is_none() -> None:
    assert vocabulary().vaccine("L04AD02") is None
    assert vocabulary().vaccine("magic") is None


def test_a_name_that_stands_twice_is_refused() -> None:
    text = words.FILE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="stands twice"):
        words.read(text.replace('aliases = ["rapamycin"]', 'aliases = ["rifampicin"]'))
