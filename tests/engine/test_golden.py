"""What rule book 2026-01 answered when it was in force, it answers for ever, byte for byte."""

import json

import pytest

from dosing.rules import casefile
from dosing.rules.engine.assess import assess
from tacroweb.audit.ledger import canonical
from tests.engine.given import ROOT, first_book

GOLDEN = [
    json.loads(line)
    for line in (ROOT / "tests/golden/2026-01.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("kept", GOLDEN, ids=lambda kept: kept["name"])
def test_the_stored_facts_give_the_stored_answer(kept: dict[str, object]) -> None:
    case, at = casefile.decode_case(kept["case"])
    answer = casefile.encode_advice(assess(case, first_book(), at=at))
    assert canonical(answer) == canonical(kept["advice"])


def test_every_case_of_that_book_is_kept() -> None:
    assert len(GOLDEN) == 206
