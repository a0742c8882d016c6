"""The description of the case format names every key and word that the reader knows."""

import json
import re
from enum import StrEnum

import pytest

from dosing.rules import casefile
from dosing.rules.engine import advice, facts
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rows import Origin, Severity
from patients.vocabulary import vocabulary
from tests.engine.given import ROOT, book
from tests.engine.test_cases import KEYS

TEXT = (ROOT / "dosing/rules/CASE-FORMAT.md").read_text(encoding="utf-8")
EXAMPLE, ANSWER = (json.loads(found) for found in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))
WORDS = (
    facts.Intent,
    facts.Sex,
    facts.Pregnancy,
    facts.InfectionRisk,
    facts.Cyp3a5,
    facts.Sard,
    facts.Subtype,
    facts.Line,
    facts.RegimenStatus,
    facts.Formulation,
    facts.Route,
    facts.VaccineRoute,
    facts.EventKind,
    advice.Action,
    advice.Outcome,
    Origin,
)


def keys(data: object) -> set[str]:
    if isinstance(data, dict):
        return set(data) | {key for value in data.values() for key in keys(value)}
    if isinstance(data, list):
        return {key for value in data for key in keys(value)}
    return set()


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words.__name__)
def test_every_word_is_named(words: type[StrEnum]) -> None:
    for word in words:
        assert f"`{word.value}`" in TEXT


def test_every_severity_analyte_unit_and_expectation_is_named() -> None:
    for severity in Severity:
        assert f"`{severity.name}`" in TEXT
    for analyte in vocabulary().analytes:
        units = " ".join(f"`{unit.unit}`" for unit in analyte.units)
        assert f"| `{analyte.key}` | {analyte.name} | {units} |" in TEXT
    for key in KEYS:
        assert f"`{key}`" in TEXT


def test_the_example_is_a_case_with_every_key_and_each_is_described() -> None:
    case, at = casefile.decode_case(EXAMPLE)
    written = casefile.encode_case(case, at)
    optional = {"last_dose_at", "name", "low", "high", "given_on", "switched_on", "switched_from"}
    assert keys(written) - keys(EXAMPLE) <= optional
    for key in keys(written) | optional:
        assert f"`{key}`" in TEXT
    answer = casefile.encode_advice(assess(case, book(), at=at))
    assert set(answer) == set(ANSWER)
    assert set(answer["findings"][0]) == set(ANSWER["findings"][0])
    assert set(answer["due_tests"][0]) == set(ANSWER["due_tests"][0])
