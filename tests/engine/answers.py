"""Every kept answer in one test: what `make mutation` puts each mutant of the engine to.

Not collected by itself: `test_golden.py` says the same case by case.
"""

from tacroweb.audit.ledger import canonical
from tests.engine.given import first_book
from tests.engine.test_cases import CASES
from tests.engine.test_golden import GOLDEN, KEPT, answer_of, digest_of


def test_every_answer_is_the_kept_one() -> None:
    for path in CASES:
        assert digest_of(path) == KEPT[path.stem], path.stem
    for kept in GOLDEN:
        assert answer_of(kept["case"], first_book()) == canonical(kept["advice"]), kept["name"]
