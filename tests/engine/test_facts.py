"""Facts are never refused for clinical reasons, only when they are impossible."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dosing.rules.engine import facts
from tests.engine.given import AT, case, drug, level, regimen

NAIVE = datetime(2026, 3, 1, 8)  # noqa: DTZ001 the point of the test
IMPOSSIBLE: dict[str, Callable[[], object]] = {
    "a weight of 0": lambda: facts.Patient(weight_kg=Decimal(0)),
    "a height of 0": lambda: facts.Patient(height_cm=Decimal(0)),
    "a dose of 0": lambda: regimen(morning_mg=Decimal(0), evening_mg=Decimal(0)),
    "a dose below 0": lambda: regimen(morning_mg=Decimal(-1)),
    "a dose without an offset": lambda: regimen(dose_since=NAIVE),
    "half a target": lambda: regimen(target_low_ng_per_ml=Decimal(5)),
    "a target upside down": lambda: regimen(
        target_low_ng_per_ml=Decimal(9), target_high_ng_per_ml=Decimal(5)
    ),
    "an original dose of 0": lambda: regimen(dose_before_inhibitor_mg_per_day=Decimal(0)),
    "an unlisted drug without a name": lambda: drug(facts.UNLISTED),
    "a stop before the start": lambda: drug("rifampin", stopped_on=date(2026, 2, 1)),
    "a level without an offset": lambda: level("7", at=NAIVE),
    "a level below 0": lambda: level("-1"),
    "hours below 0": lambda: level("7", hours_since_dose=Decimal(-1)),
    "a last dose without an offset": lambda: level("7", last_dose_at=NAIVE),
    "a last dose after the sample": lambda: level("7", last_dose_at=AT + timedelta(days=1)),
    "a grade of 5": lambda: facts.ClinicalEvent(kind=facts.EventKind.INFECTION, grade=5),
    "resolved before it began": lambda: facts.ClinicalEvent(
        kind=facts.EventKind.INFECTION,
        started_on=date(2026, 2, 2),
        resolved_on=date(2026, 2, 1),
    ),
    "a vaccine on no day": lambda: facts.Immunisation(vaccine="mumps"),
    "a Child-Pugh score of 4": lambda: facts.Patient(child_pugh=4),
    "a Child-Pugh score of 16": lambda: facts.Patient(child_pugh=16),
    "a switch of product without the one before": lambda: regimen(switched_on=date(2026, 2, 1)),
    "a switch of product on no day": lambda: regimen(switched_from="Prograf (IR)"),
    "a changed dose on no day": lambda: drug("voriconazole", daily_dose_before_mg=Decimal(200)),
    "a changed dose without the one before": lambda: drug(
        "voriconazole", dose_changed_on=date(2026, 3, 1)
    ),
    "a changed dose that was 0": lambda: drug(
        "voriconazole", dose_changed_on=date(2026, 3, 1), daily_dose_before_mg=Decimal(0)
    ),
    "an earlier dose of 0": lambda: earlier(0, date(2026, 2, 1)),
    "an earlier dose without a newest change": lambda: drug(
        "prednisone", earlier_doses=(earlier(40, date(2026, 2, 1)),)
    ),
    "an earlier dose that is not earlier": lambda: tapered(earlier(40, date(2026, 3, 1))),
    "earlier doses newest first": lambda: tapered(
        earlier(30, date(2026, 2, 9)), earlier(40, date(2026, 2, 1))
    ),
    "two earlier doses of one day": lambda: tapered(
        earlier(40, date(2026, 2, 1)), earlier(30, date(2026, 2, 1))
    ),
    "an approval of half a target": lambda: approval(low=Decimal(3)),
    "an approval of a target upside down": lambda: approval(low=Decimal(5), high=Decimal(3)),
    "an approval given twice": lambda: case(local_approvals=(approval(), approval())),
}


def earlier(mg: int, until: date) -> facts.EarlierDose:
    return facts.EarlierDose(until=until, daily_dose_mg=Decimal(mg))


def tapered(*doses: facts.EarlierDose) -> facts.CoMedication:
    """Prednisone, 20 mg/day until 1 March 2026 and 10 mg/day since."""
    return drug(
        "prednisone",
        daily_dose_mg=Decimal(10),
        dose_changed_on=date(2026, 3, 1),
        daily_dose_before_mg=Decimal(20),
        earlier_doses=doses,
    )


def test_the_dose_of_a_day_is_the_one_before_the_next_change() -> None:
    taken = tapered(earlier(40, date(2026, 2, 1)), earlier(30, date(2026, 2, 15)))
    assert taken.dose_changes == (date(2026, 2, 1), date(2026, 2, 15), date(2026, 3, 1))
    days = {
        date(2026, 1, 31): 40,
        date(2026, 2, 1): 30,
        date(2026, 2, 14): 30,
        date(2026, 2, 15): 20,
        date(2026, 2, 28): 20,
        date(2026, 3, 1): 10,
    }
    assert {day: taken.dose_on(day) for day in days} == days
    unchanged = drug("prednisone", daily_dose_mg=Decimal(10))
    assert unchanged.dose_changes == ()
    assert unchanged.dose_on(date(2026, 1, 1)) == 10


def approval(**changes: Any) -> facts.LocalApproval:
    return facts.LocalApproval(row="RENAL-R1", approved_on=date(2026, 1, 1), **changes)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_facts_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        IMPOSSIBLE[name]()


def test_results_are_found_newest_first_and_never_from_the_future() -> None:
    old, new, future = (
        level(value, at=AT + timedelta(days=days))
        for value, days in (("5", -9), ("6", -1), ("7", 1))
    )
    given_case = case(observations=(new, future, old))
    assert given_case.results(facts.TACROLIMUS_LEVEL, AT) == (new, old)
    assert given_case.newest(facts.TACROLIMUS_LEVEL, AT) == new
    assert given_case.newest("potassium", AT) is None


def test_hours_are_stated_or_counted_or_not_known() -> None:
    assert level("7").hours_after_dose == 12
    counted = level(
        "7", hours_since_dose=None, last_dose_at=AT - timedelta(days=1, hours=11, minutes=30)
    )
    assert counted.hours_after_dose == Fraction(23, 2)
    assert level("7", hours_since_dose=None).hours_after_dose is None


def test_the_same_facts_are_equal_in_whatever_order_they_come() -> None:
    one, other = drug("rifampin"), drug("voriconazole")
    shots = tuple(
        facts.Immunisation(vaccine=name, given_on=date(2026, 1, 1)) for name in ("mumps", "measles")
    )
    assert case(co_medications=(one, other), immunisations=shots) == case(
        co_medications=(other, one), immunisations=shots[::-1]
    )
    assert case(regimen=regimen(dose_since=AT)) == case(
        regimen=regimen(dose_since=AT.astimezone(UTC))
    )
