"""What a reviewer is shown of a draft: each row and field that differs, and what is let go."""

from dataclasses import fields, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum

import pytest

from dosing.rules.difference import LOWERED_SEVERITY, REMOVED_CONTRAINDICATION, diff
from dosing.rules.engine.rows import (
    ContraindicationRow,
    DrugClass,
    DrugClassRow,
    Origin,
    Severity,
    VaccineRow,
)
from dosing.rules.models import TABLES
from dosing.rules.words import differences
from tests.engine.given import book

OWN = {"statements": ("S73",), "origin": Origin.SEED, "source": "For the test."}
BARRED = ContraindicationRow(code="BAR", kind="DRUG", name="sirolimus", finding="F", **OWN)
CLASS = DrugClassRow(code="CLASS", drug="sirolimus", seed_class=DrugClass.CONTRAINDICATED, **OWN)
VACCINE = VaccineRow(code="VAC", atc="J07BD52", name="MMR", **OWN)


def test_equal_books_do_not_differ_whatever_the_order_of_their_rows() -> None:
    assert diff(book(), book()) == ()
    assert diff(book(), replace(book(), findings=tuple(reversed(book().findings)))) == ()
    assert diff(book(), replace(book(), version="2027-01", title="Another")) == ()


def test_a_changed_row_is_told_field_by_field_in_words() -> None:
    old = book()
    row = next(row for row in old.numbers if row.code == "MAX-MG-PER-DAY")
    new = replace(row, value=Decimal(12), source="Another sentence.")
    draft = replace(old, numbers=tuple(new if each is row else each for each in old.numbers))
    (table,) = diff(old, draft)
    assert (table.table, table.added, table.removed) == ("numbers", (), ())
    (change,) = table.changed
    assert (change.code, change.old, change.new, change.flags) == (row.code, row, new, ())
    assert list(differences(row, new)) == [
        ("Value", "10 mg/day", "12 mg/day"),
        ("Source", row.source, "Another sentence."),
    ]


def test_a_share_is_told_as_a_share() -> None:
    row = next(row for row in book().interactions if row.numerator == 1 and row.denominator == 3)
    [(label, old, new)] = differences(row, replace(row, denominator=4))
    assert label == "Dose"
    assert "1/3 of the dose" in old
    assert "1/4 of the dose" in new


@pytest.mark.parametrize("table", TABLES)
def test_no_difference_of_a_row_goes_untold(table: str) -> None:
    """Whatever field differs, whoever weighs the change reads it."""
    for row in book().tables()[table][:20]:
        for each in fields(row):
            if each.name != "code":
                changed = replace(row, **{each.name: _another(getattr(row, each.name), each.type)})
                said = list(differences(row, changed))
                assert said, f"{row.code}: {each.name}"
                assert all(old != new for _, old, new in said), f"{row.code}: {each.name}"


def _another(value: object, kind: object) -> object:
    match value:
        case bool():
            return not value
        case Enum():
            return next(each for each in type(value) if each is not value)
        case int() | Decimal():
            return value + 1
        case str():
            return f"{value} otherwise"
        case tuple():
            return (*value, "otherwise")
        case date():
            return value + timedelta(days=1)
    given = {"Decimal": Decimal(7), "int": 7, "date": date(2026, 1, 2)}
    return next(made for name, made in given.items() if name in str(kind))


def test_added_and_removed_rows_are_told_apart() -> None:
    first, *rest = book().findings
    other = replace(first, code="ANOTHER")
    (table,) = diff(book(), replace(book(), findings=(*rest, other)))
    assert [(row.old, row.new) for row in table.removed] == [(first, None)]
    assert [(row.old, row.new) for row in table.added] == [(None, other)]
    assert table.rows == table.removed + table.added


def test_what_is_no_longer_barred_is_flagged_however_it_was_said() -> None:
    for table, row in (
        ("contraindications", BARRED),
        ("drug_classes", CLASS),
        ("vaccines", VACCINE),
    ):
        kept = getattr(book(), table)
        old = replace(book(), **{table: (*kept, row)})
        for new in (book(), replace(book(), **{table: (*kept, replace(row, enabled=False))})):
            (change,) = diff(old, new)
            assert change.rows[0].flags == (REMOVED_CONTRAINDICATION,), table
        worded = replace(book(), **{table: (*kept, replace(row, source="Another."))})
        assert diff(old, worded)[0].rows[0].flags == ()


def test_a_lowered_severity_is_flagged_and_a_raised_one_is_not() -> None:
    row = next(row for row in book().findings if row.severity is Severity.WARN)
    for severity, flags in ((Severity.CAUTION, (LOWERED_SEVERITY,)), (Severity.STOP, ())):
        changed = replace(row, severity=severity)
        new = replace(
            book(), findings=tuple(changed if each is row else each for each in book().findings)
        )
        (table,) = diff(book(), new)
        assert table.changed[0].flags == flags
