"""Every case file under tests/cases gives what it says it must give."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dosing.rules import casefile
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rows import Severity
from tests.engine.given import ROOT, book

CASES = sorted((ROOT / "tests/cases").glob("*.json"))
KEYS = {
    "statements_present",
    "statements_absent",
    "severity",
    "severity_at_most",
    "proposal",
    "proposal_not",
    "outcome",
    "due_within_days",
}


def advice_of(text: str) -> dict[str, Any]:
    case, at = casefile.read_case(text)
    return casefile.encode_advice(assess(case, book(), at=at))


def severities(advice: dict[str, Any]) -> dict[str, list[Severity]]:
    found: dict[str, list[Severity]] = {}
    for finding in advice["findings"]:
        for statement in finding["statements"]:
            found.setdefault(statement, []).append(Severity[finding["severity"]])
    return found


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_case_gives_what_it_must(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    expect = json.loads(text)["expect"]
    assert expect
    assert set(expect) <= KEYS
    advice = advice_of(text)
    graded = severities(advice)
    assert set(expect.get("statements_present", ())) <= set(graded)
    assert not set(expect.get("statements_absent", ())) & set(graded)
    for statement, least in expect.get("severity", {}).items():
        assert max(graded[statement]) >= Severity[least], statement
    for statement, most in expect.get("severity_at_most", {}).items():
        assert max(graded[statement]) <= Severity[most], statement
    if "outcome" in expect:
        assert advice["outcome"] == expect["outcome"]
    proposal = advice["proposal"]
    if "proposal" in expect:
        if expect["proposal"] is None:
            assert proposal is None or proposal["action"] == "HOLD"
        else:
            assert proposal is not None
            assert {key: proposal[key] for key in expect["proposal"]} == expect["proposal"]
    if "proposal_not" in expect:
        assert proposal is None or any(
            proposal[key] != value for key, value in expect["proposal_not"].items()
        )
    today = date.fromisoformat(advice["at"][:10])
    for analyte, (first, last) in expect.get("due_within_days", {}).items():
        days = [
            (date.fromisoformat(test["due"]) - today).days
            for test in advice["due_tests"]
            if test["analyte"] == analyte
        ]
        assert any(first <= day <= last for day in days), (analyte, days)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_case_survives_being_written_and_read_again(path: Path) -> None:
    case, at = casefile.read_case(path.read_text(encoding="utf-8"))
    written = casefile.written(casefile.encode_case(case, at))
    again, at_again = casefile.read_case(written)
    assert (again, at_again) == (case, at)
    assert casefile.written(casefile.encode_case(again, at_again)) == written
    before, after = (
        assess(each, book(), at=moment) for each, moment in ((case, at), (again, at_again))
    )
    assert before == after


def test_the_reconciled_proposal_and_every_message_carry_their_numbers_and_sources() -> None:
    for path in CASES:
        for found in advice_of(path.read_text(encoding="utf-8"))["findings"]:
            assert found["message"].endswith("."), found["code"]
            assert "None" not in found["message"], found["message"]
            assert found["source"], found["code"]
            if found["proposal"] and found["proposal"]["action"] != "HOLD":
                assert "mg/day" in found["proposal"]["arithmetic"]
