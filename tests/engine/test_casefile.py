"""A case is read strictly, every error names its path, and it is written in one way only."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dosing.rules import casefile, toml_book
from dosing.rules.casefile import CaseError
from tests.engine.given import AT, ROOT, SEED, book, case, drug, first_book, level

PLAIN = json.loads((ROOT / "tests/cases/trough-in-range.json").read_text(encoding="utf-8"))["case"]


def changed(path: str, value: object) -> dict[str, Any]:
    """The plain case with the value at `path` replaced or added."""
    data: Any = deepcopy(PLAIN)
    place, steps = data, path.split(".")
    for step in steps[:-1]:
        place = place[int(step) if step.isdigit() else step]
    place[int(steps[-1]) if steps[-1].isdigit() else steps[-1]] = value
    return data


OBSERVATION = {
    "analyte": "potassium",
    "value": "4.2",
    "unit": "mmol/L",
    "at": "2026-03-01T08:00:00Z",
}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("at", "2026-03-02T09:00:00", "case.at: must be an instant with its offset"),
        ("at", "2026-02-30T09:00:00Z", "case.at: must be an instant"),
        ("at", None, "case.at: is required"),
        ("intent", "WONDER", "case.intent: unknown word 'WONDER'; one of START REVIEW"),
        ("surprise", 1, "case.surprise: unknown key"),
        ("patient.colour", "blue", "case.patient.colour: unknown key"),
        ("patient.weight_kg", 62, "case.patient.weight_kg: must be a text in quotes"),
        ("patient.weight_kg", "6,2", "case.patient.weight_kg: Write 6.2 with a point"),
        ("patient.weight_kg", "0", "case.patient: a weight must be more than 0 kg"),
        ("patient.lactating", "no", "case.patient.lactating: must be true or false"),
        ("patient.birth_date", "14.03.1971", "case.patient.birth_date: must be a day"),
        ("patient.birth_date", "1971-02-30", "case.patient.birth_date: must be a day"),
        ("patient.sex", "female", "case.patient.sex: unknown word"),
        ("diagnosis", [], "case.diagnosis: must be an object"),
        ("regimen.morning_mg", None, "case.regimen.morning_mg: is required"),
        ("regimen.morning_mg", "-1", "case.regimen.morning_mg: The value cannot be negative"),
        ("regimen.brand", " ", "case.regimen.brand: must not be empty"),
        ("co_medications.0.drug", "foo", 'case.co_medications[0].drug: unknown drug "foo"'),
        ("co_medications.0.drug", "unlisted", "case.co_medications[0]: an unlisted drug needs"),
        ("co_medications.0.route", "NOSE", "case.co_medications[0].route: unknown word"),
        ("co_medications", {}, "case.co_medications: must be a list"),
        ("observations.0", "4.2", "case.observations[0]: must be an object"),
        ("observations.0", OBSERVATION | {"analyte": "kryptonite"}, 'unknown analyte "kryptonite"'),
        ("observations.0", OBSERVATION | {"analyte": "2823-3"}, 'unknown analyte "2823-3"'),
        ("observations.0", OBSERVATION | {"unit": "mg/dL"}, "case.observations[0].unit: Potassium"),
        ("observations.0", OBSERVATION | {"value": "1e1"}, "case.observations[0].value: Write"),
        ("observations.0", OBSERVATION | {"value": "~4"}, "case.observations[0].value: "),
        ("events", [{"kind": "BAD DAY"}], "case.events[0].kind: unknown word"),
        ("events", [{"kind": "TREMOR", "grade": "2"}], "case.events[0].grade: must be a whole"),
        ("events", [{"kind": "TREMOR", "grade": True}], "case.events[0].grade: must be a whole"),
        ("events", [{"kind": "TREMOR", "grade": 5}], "case.events[0]: a grade is 1 to 4"),
        (
            "immunisations",
            [{"vaccine": "magic"}],
            'immunisations[0].vaccine: unknown vaccine "magic"',
        ),
        ("immunisations", [{"vaccine": "mumps"}], "case.immunisations[0]: an immunisation"),
    ],
)
def test_bad_input_is_refused_with_its_path(path: str, value: object, says: str) -> None:
    with pytest.raises(CaseError) as refused:
        casefile.decode_case(changed(path, value))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"at": 1, "at": 2}', "at: stands twice"),
        ('{"case": {"patient": {"sex": null, "sex": null}}}', "sex: stands twice"),
        ('{"at": NaN}', "NaN is not a value"),
        ("{", "not JSON"),
        ("[]", "case: must be an object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_no_case_is_refused(text: str, says: str) -> None:
    with pytest.raises(CaseError, match=says):
        casefile.read_case(text)


def test_absent_and_null_are_not_known() -> None:
    facts_given, _ = casefile.decode_case({"at": "2026-03-02T09:00:00Z", "intent": "START"})
    assert facts_given.patient.weight_kg is None
    assert facts_given.diagnosis.ild is None
    assert facts_given.regimen is None
    nulls = dict.fromkeys(PLAIN) | {"at": "2026-03-02T09:00:00Z", "intent": "START"}
    assert casefile.decode_case(nulls)[0] == facts_given


def test_a_bare_case_and_one_inside_an_object_are_the_same() -> None:
    bare = json.dumps(PLAIN)
    wrapped = json.dumps({"note": "any", "case": PLAIN, "expect": {}})
    assert casefile.read_case(bare) == casefile.read_case(wrapped)


def test_aliases_units_and_comparators_are_read_to_one_form() -> None:
    data = changed("co_medications.0.drug", "Rifampicin")
    data["observations"] = [
        {"analyte": "creatinine", "value": "<88.40", "unit": "μmol/L", "at": "2026-03-01T08:00:00Z"}
    ]
    data["immunisations"] = [{"vaccine": "j07bl01", "planned_on": "2026-04-01", "route": "SC"}]
    facts_given, at = casefile.decode_case(data)
    written = casefile.encode_case(facts_given, at)
    assert written["co_medications"][0]["drug"] == "rifampin"
    assert written["observations"][0]["value"] == "<88.4"
    assert written["observations"][0]["unit"] == "umol/L"
    assert written["observations"][0]["at"] == "2026-03-01T09:00:00+01:00"
    assert written["immunisations"][0]["vaccine"] == "yellow fever"
    assert casefile.decode_case(written) == (facts_given, at)


def test_equal_facts_give_the_same_bytes() -> None:
    one = case(
        co_medications=(drug("rifampin"), drug("voriconazole")), observations=(level("7.0"),)
    )
    other = case(
        co_medications=(drug("voriconazole"), drug("rifampin")),
        observations=(level("7", at=level("7").at.astimezone(ZoneInfo("Asia/Tokyo"))),),
    )
    assert one == other
    texts = {casefile.written(casefile.encode_case(each, AT)) for each in (one, other)}
    assert len(texts) == 1
    berlin = datetime(2026, 3, 30, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    written = casefile.encode_case(one, berlin)
    assert casefile.encode_case(*casefile.decode_case(written)) == written


def test_a_moment_without_an_offset_is_not_written() -> None:
    with pytest.raises(ValueError, match="offset"):
        casefile.encode_case(case(), AT.replace(tzinfo=None))
    assert casefile.encode_case(case(), datetime(2026, 3, 2, tzinfo=UTC))["at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('severity = "CAUTION"', 'severity = "LOUD"', r"findings\[0\]\.severity: must be one of"),
        ('origin = "LOCAL"', 'origin = "RUMOUR"', r"findings\[0\]\.origin: must be one of"),
        ('statements = ["S6"]', "statements = [6]", r"findings\[0\]\.statements: must be a list"),
        ('statements = ["S6"]\n', "", r"findings\[0\]\.statements: is required"),
        (
            'code = "SEL-OUT',
            'colour = "red"\ncode = "SEL-OUT',
            r"findings\[0\]\.colour: unknown key",
        ),
        ('low = "0.075"', "low = 0.075", r"starting_doses\[0\]\.low: must be a number in quotes"),
        ('low = "0.075"', 'low = ".075"', r"starting_doses\[0\]\.low: Write 0\.075"),
        (
            "numerator = 1",
            "numerator = true",
            r"dose_steps\[0\]\.numerator: must be a whole number",
        ),
        ("needs_local_approval = true", 'needs_local_approval = "yes"', "must be true or false"),
        ('unit = "mg/d"', "unit = 1", r"numbers\[0\]\.unit: must be a text"),
        ("[[findings]]", "[[surprises]]", "surprises: unknown table"),
        ('version = "2026-02"', "version = 2026", "version: a text is required"),
        ("[[findings]]", "[[findings", "not TOML"),
    ],
)
def test_a_book_is_read_strictly_and_the_error_names_the_path(
    old: str, new: str, says: str
) -> None:
    text = SEED.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(ValueError, match=says):
        toml_book.read(text.replace(old, new, 1))


def test_rows_must_be_arrays_of_tables() -> None:
    with pytest.raises(ValueError, match="must be an array of tables"):
        toml_book.read('version = "1"\ntitle = "t"\nfindings = "none"')
    with pytest.raises(ValueError, match=r"findings\[0\]: must be a table"):
        toml_book.read('version = "1"\ntitle = "t"\nfindings = ["none"]')


def test_the_numbers_of_the_seed_book_are_those_of_the_protocol() -> None:
    for each in (first_book(), book()):
        assert each.index.starting["WEIGHT"].low == Decimal("0.075")
        assert each.index.target == (5, 10)
        azole = each.index.interactions["voriconazole", "STARTED"]
        assert (azole.numerator, azole.denominator) == (1, 3)
