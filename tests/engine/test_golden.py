"""What a rule book has once answered it answers for ever, byte for byte.

Of 2026-01, which was in force first, the facts and the answers are kept whole; of 2026-02 the
SHA-256 of its answer to each case file. A change of a digest is a change of an answer, made
knowingly:

    python -m tests.engine.test_golden     writes the digests of 2026-02 anew
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dosing.rules import casefile
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rulebook import RuleBook
from tacroweb.audit.ledger import canonical
from tests.engine.given import ROOT, book, first_book
from tests.engine.test_cases import CASES

FOLDER = ROOT / "tests/golden"
DIGESTS = FOLDER / "2026-02.json"
GOLDEN = [
    json.loads(line) for line in (FOLDER / "2026-01.jsonl").read_text(encoding="utf-8").splitlines()
]
KEPT: dict[str, str] = json.loads(DIGESTS.read_text(encoding="utf-8"))


def answer_of(case: dict[str, Any], rules: RuleBook) -> str:
    facts, at = casefile.decode_case(case)
    return canonical(casefile.encode_advice(assess(facts, rules, at=at)))


def digest_of(path: Path) -> str:
    case = json.loads(path.read_text(encoding="utf-8"))["case"]
    return hashlib.sha256(answer_of(case, book()).encode()).hexdigest()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_case_is_answered_as_it_was(path: Path) -> None:
    assert digest_of(path) == KEPT[path.stem]


@pytest.mark.parametrize("kept", GOLDEN, ids=lambda kept: kept["name"])
def test_the_stored_facts_give_the_stored_answer(kept: dict[str, Any]) -> None:
    assert answer_of(kept["case"], first_book()) == canonical(kept["advice"])


def test_every_answer_is_kept() -> None:
    assert len(GOLDEN) == 206
    assert set(KEPT) == {path.stem for path in CASES}


if __name__ == "__main__":
    digests = {path.stem: digest_of(path) for path in CASES}
    DIGESTS.write_text(json.dumps(digests, indent=0) + "\n", encoding="utf-8")
