"""Every statement of the protocol is shown at work by one case, and silent by one that comes close.

The pairs stand beside the statements in dosing/rules/statements.toml, where the page of each
statement reads them; `manage.py traceability` prints them with rows and functions.
`pytest tests/engine/test_statements.py -v` prints one line a statement and side.
"""

from functools import cache

import pytest

from dosing.rules import cases
from dosing.rules.protocol import CODES, Statement, protocol
from tests.engine.test_cases import advice_of

STATEMENTS = sorted(protocol().statements, key=lambda each: int(each.code[1:]))


@cache
def cited_in(name: str) -> frozenset[str]:
    text = cases.text_of(name)
    assert text is not None, f"there is no case {name}"
    return frozenset(each for found in advice_of(text)["findings"] for each in found["statements"])


def test_every_statement_of_the_protocol_is_there() -> None:
    assert tuple(each.code for each in STATEMENTS) == CODES


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each.code)
def test_the_statement_is_cited_in_its_case(statement: Statement) -> None:
    assert statement.code in cited_in(statement.fires)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each.code)
def test_the_statement_is_silent_in_the_case_that_comes_close(statement: Statement) -> None:
    assert statement.code not in cited_in(statement.silent)
