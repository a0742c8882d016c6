"""What holds for every case, not only for the ones somebody thought of."""

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dosing.rules.engine import assess as assessing
from dosing.rules.engine import facts
from dosing.rules.engine.advice import Action
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rows import Severity
from dosing.rules.engine.rulebook import RuleBook
from tests.engine.given import AT, advice, book, case, drug, level, regimen

QUICK = settings(max_examples=60, deadline=None, derandomize=True)

DOSES = st.integers(1, 20).map(lambda steps: Decimal(steps) / 2)
LEVELS = st.integers(0, 400).map(lambda tenths: Decimal(tenths) / 10)
DAYS = st.integers(0, 40).map(lambda days: (AT - timedelta(days=days)).date())
NAMES = st.sampled_from(
    sorted({row.drug for row in book().drug_classes} | {"lisinopril", "omeprazole"})
)


@st.composite
def drugs(draw: Any) -> facts.CoMedication:
    started = draw(st.none() | DAYS)
    stopped = draw(st.none() | DAYS)
    if started and stopped and stopped < started:
        started, stopped = stopped, started
    return drug(
        draw(NAMES),
        started,
        stopped_on=stopped,
        route=draw(st.none() | st.sampled_from(facts.Route)),
        planned=draw(st.booleans()),
    )


@st.composite
def levels(draw: Any) -> facts.Observation:
    value = draw(LEVELS)
    return level(
        str(value),
        at=AT - timedelta(hours=draw(st.integers(0, 900))),
        hours_since_dose=draw(st.none() | st.integers(0, 30).map(Decimal)),
        comparator=draw(st.sampled_from([None, None, None, *facts.Comparator])),
    )


@st.composite
def regimens(draw: Any) -> facts.Regimen:
    total_before = draw(st.none() | DOSES)
    return regimen(
        status=draw(st.sampled_from(facts.RegimenStatus)),
        formulation=draw(st.sampled_from([facts.Formulation.IR, *facts.Formulation])),
        morning_mg=draw(DOSES),
        evening_mg=draw(DOSES),
        started_on=draw(st.none() | DAYS),
        dose_since=draw(
            st.none() | DAYS.map(lambda on: datetime(on.year, on.month, on.day, 8, tzinfo=UTC))
        ),
        dose_before_inhibitor_mg_per_day=total_before,
    )


@st.composite
def cases(draw: Any) -> facts.CaseFacts:
    return case(
        intent=draw(st.sampled_from(facts.Intent)),
        patient=facts.Patient(
            weight_kg=draw(st.none() | st.integers(3, 300).map(Decimal)),
        ),
        diagnosis=facts.Diagnosis(
            ild=draw(st.sampled_from([True, True, True, False, None])),
            sard=draw(st.sampled_from([facts.Sard.IIM, None, *facts.Sard])),
            line=draw(st.none() | st.sampled_from(facts.Line)),
        ),
        regimen=draw(st.none() | regimens()),
        co_medications=tuple(draw(st.lists(drugs(), max_size=4))),
        observations=tuple(draw(st.lists(levels(), max_size=4))),
        events=tuple(
            draw(
                st.lists(
                    st.builds(
                        facts.ClinicalEvent,
                        kind=st.sampled_from(facts.EventKind),
                        grade=st.none() | st.integers(1, 4),
                        started_on=st.none() | st.just(date(2026, 1, 1)),
                        resolved_on=st.none() | DAYS,
                    ),
                    max_size=2,
                )
            )
        ),
    )


@QUICK
@given(cases())
def test_the_same_facts_always_give_the_same_advice(given_case: facts.CaseFacts) -> None:
    assert advice(given_case) == advice(given_case)


@QUICK
@given(cases(), st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_of_topics_nor_of_facts_matters(
    given_case: facts.CaseFacts, chance: random.Random
) -> None:
    def shuffled(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        mixed = list(rows)
        chance.shuffle(mixed)
        return tuple(mixed)

    kinds = [
        name for name in RuleBook.__dataclass_fields__ if isinstance(getattr(book(), name), tuple)
    ]
    other_book = replace(book(), **{name: shuffled(getattr(book(), name)) for name in kinds})
    lists = ("co_medications", "observations", "events")
    other_case = replace(
        given_case, **{name: shuffled(getattr(given_case, name)) for name in lists}
    )
    assert other_case == given_case
    before = advice(given_case)
    topics = assessing.TOPICS
    try:
        assessing.TOPICS = shuffled(topics)
        assert advice(other_case, other_book) == before
    finally:
        assessing.TOPICS = topics


@QUICK
@given(cases())
def test_no_proposal_is_above_the_maximum_below_the_capsules_or_not_dispensable(
    given_case: facts.CaseFacts,
) -> None:
    answer = advice(given_case)
    current = given_case.regimen.total_daily_mg if given_case.regimen else Decimal(0)
    for proposal in (answer.proposal, *(found.proposal for found in answer.findings)):
        if proposal is None or proposal.action is Action.HOLD:
            continue
        assert proposal.morning_mg is not None
        assert proposal.evening_mg is not None
        assert proposal.total_daily_mg is not None
        assert proposal.evening_mg >= Decimal("0.5")
        assert proposal.morning_mg - proposal.evening_mg in (Decimal(0), Decimal("0.5"))
        assert proposal.morning_mg % Decimal("0.5") == 0
        assert proposal.total_daily_mg <= max(Decimal(10), current) or _azole_original(given_case)


def _azole_original(given_case: facts.CaseFacts) -> bool:
    """A third of a large original dose may stand in a finding; it is never a raise."""
    before = given_case.regimen and given_case.regimen.dose_before_inhibitor_mg_per_day
    return bool(before) and advice(given_case).proposal is None


@QUICK
@given(cases())
def test_a_held_regimen_is_not_changed_and_the_dose_in_force_is_not_proposed(
    given_case: facts.CaseFacts,
) -> None:
    proposal = advice(given_case).proposal
    if proposal is None or proposal.action is Action.HOLD or given_case.regimen is None:
        return
    assert given_case.regimen.status is facts.RegimenStatus.ACTIVE
    assert proposal.total_daily_mg != given_case.regimen.total_daily_mg


@QUICK
@given(cases())
def test_adding_a_stop_never_removes_a_finding(given_case: facts.CaseFacts) -> None:
    before = advice(given_case)
    with_stop = replace(
        given_case,
        events=(
            *given_case.events,
            facts.ClinicalEvent(kind=facts.EventKind.INFECTION, grade=4),
        ),
        co_medications=(*given_case.co_medications, drug("sirolimus", date(2020, 1, 1))),
    )
    after = advice(with_stop)
    assert set(before.findings) <= set(after.findings)
    assert after.proposal is not None
    assert after.proposal.action is Action.HOLD


@QUICK
@given(LEVELS, LEVELS, DOSES, DOSES)
def test_a_higher_trough_never_proposes_a_higher_dose(
    one: Decimal, other: Decimal, morning: Decimal, evening: Decimal
) -> None:
    def total(value: Decimal) -> Decimal:
        given_case = case(
            regimen=regimen(morning_mg=morning, evening_mg=evening),
            observations=(level(str(value)),),
        )
        proposal = advice(given_case).proposal
        if proposal is None:
            found = advice(given_case).findings
            nothing_fits = any(each.code == "TROUGH-NOT-DISPENSABLE" for each in found)
            return Decimal(0) if nothing_fits else morning + evening
        return proposal.total_daily_mg or Decimal(0)

    low, high = sorted((one, other))
    assert total(high) <= total(low)


@QUICK
@given(cases())
def test_stop_and_warn_come_first_and_every_outcome_is_said(given_case: facts.CaseFacts) -> None:
    answer = advice(given_case)
    order = [found.severity for found in answer.findings]
    assert order == sorted(order, reverse=True)
    for found in answer.findings:
        assert isinstance(found.severity, Severity)
        assert found.message.endswith(".")
        assert "None" not in found.message
        assert all(test.earliest <= test.due <= test.latest for test in found.due_tests)


@QUICK
@given(cases(), st.integers(-12, 14))
def test_the_advice_depends_on_the_instant_and_its_offset_only(
    given_case: facts.CaseFacts, hours: int
) -> None:
    from datetime import timezone

    offset = timezone(timedelta(hours=hours))
    moved = AT.astimezone(offset)
    answer = assess(given_case, book(), at=moved)
    assert answer.at == moved
    assert assess(given_case, book(), at=moved) == answer


@QUICK
@given(st.fractions(min_value=0, max_value=50), st.integers(1, 20))
def test_rounding_to_the_nearest_step_is_never_off_by_more_than_half(
    value: Fraction, steps: int
) -> None:
    from dosing.rules.engine.quantities import round_down, round_nearest

    step = Fraction(steps, 10)
    nearest = round_nearest(value, step)
    assert nearest is not None
    assert nearest % step == 0
    assert -step / 2 <= nearest - value < step / 2 or nearest - value == -step / 2
    assert 0 <= value - round_down(value, step) < step
