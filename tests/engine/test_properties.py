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
from dosing.rules.engine.advice import Action, DoseProposal
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rows import INHIBITORS as CLASSES
from dosing.rules.engine.rows import Band, Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import band_of
from tests.engine.given import AT, advice, book, case, drug, first_book, level, regimen

QUICK = settings(max_examples=60, deadline=None, derandomize=True)

DOSES = st.integers(1, 20).map(lambda steps: Decimal(steps) / 2)
LEVELS = st.integers(0, 400).map(lambda tenths: Decimal(tenths) / 10)
DAYS = st.integers(0, 40).map(lambda days: (AT - timedelta(days=days)).date())
NAMES = st.sampled_from(
    sorted(
        {row.drug for row in (*book().drug_classes, *book().drug_groups)}
        | {name for row in book().interactions for name in row.drugs}
        | {"azathioprine"}
    )
)
MG = st.none() | st.integers(1, 80).map(Decimal)


@st.composite
def drugs(draw: Any) -> facts.CoMedication:
    started = draw(st.none() | DAYS)
    stopped = draw(st.none() | DAYS)
    if started and stopped and stopped < started:
        started, stopped = stopped, started
    before = draw(MG)
    return drug(
        draw(NAMES),
        started,
        stopped_on=stopped,
        route=draw(st.none() | st.sampled_from(facts.Route)),
        planned=draw(st.booleans()),
        daily_dose_mg=draw(MG),
        daily_dose_before_mg=before,
        dose_changed_on=None if before is None else draw(DAYS),
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


AIMS = st.sampled_from(
    [
        (None, None),
        (None, None),
        (Decimal(10), Decimal(12)),
        (Decimal(1), Decimal(4)),
        (Decimal(16), Decimal(18)),
    ]
)


@st.composite
def regimens(draw: Any) -> facts.Regimen:
    total_before = draw(st.none() | DOSES)
    switched_on = draw(st.none() | DAYS)
    low, high = draw(AIMS)
    return regimen(
        target_low_ng_per_ml=low,
        target_high_ng_per_ml=high,
        switched_on=switched_on,
        switched_from=None if switched_on is None else "Prograf (IR)",
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
            child_pugh=draw(st.none() | st.integers(5, 15)),
            cyp3a5=draw(st.none() | st.sampled_from(facts.Cyp3a5)),
            hcv_antiviral_course=draw(st.none() | st.booleans()),
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
    said, said_after = (
        {(each.code, each.severity, each.message) for each in answer.findings}
        for answer in (before, after)
    )
    assert said <= said_after
    assert after.proposal is not None
    assert after.proposal.action is Action.HOLD


BOOKS = st.sampled_from([book(), first_book()])


@QUICK
@given(LEVELS, LEVELS, DOSES, DOSES, AIMS, BOOKS)
def test_a_higher_trough_never_proposes_a_higher_dose(
    one: Decimal,
    other: Decimal,
    morning: Decimal,
    evening: Decimal,
    aim: tuple[Decimal | None, Decimal | None],
    rules: RuleBook,
) -> None:
    def total(value: Decimal) -> Decimal:
        given_case = case(
            regimen=regimen(
                morning_mg=morning,
                evening_mg=evening,
                target_low_ng_per_ml=aim[0],
                target_high_ng_per_ml=aim[1],
            ),
            observations=(level(str(value)),),
        )
        answer = advice(given_case, rules)
        if answer.proposal is None:
            nothing_fits = any(each.code == "TROUGH-NOT-DISPENSABLE" for each in answer.findings)
            return Decimal(0) if nothing_fits else morning + evening
        return answer.proposal.total_daily_mg or Decimal(0)

    low, high = sorted((one, other))
    assert total(high) <= total(low)


INHIBITORS = sorted(
    name for name, (drug_class, _) in book().index.drug_classes.items() if drug_class in CLASSES
)


@QUICK
@given(
    st.lists(st.sampled_from([*INHIBITORS, "cobicistat"]), min_size=1, max_size=4, unique=True),
    DOSES,
    DOSES,
    st.integers(0, 27),
)
def test_several_inhibitors_propose_what_the_strictest_of_them_proposes_alone(
    names: list[str], morning: Decimal, evening: Decimal, days: int
) -> None:
    """Fractions are never multiplied, and which drug was entered first never matters."""
    began = (AT - timedelta(days=days)).date()
    dose = regimen(morning_mg=morning, evening_mg=evening, started_on=date(2025, 1, 1))

    def proposal(*taken: str) -> DoseProposal | None:
        drugs_taken = tuple(drug(name, began) for name in taken)
        forward, backward = (
            advice(case(regimen=dose, co_medications=each))
            for each in (drugs_taken, drugs_taken[::-1])
        )
        assert forward == backward
        return forward.proposal

    alone = [each for each in map(proposal, names) if each is not None]
    together = proposal(*names)
    if any(each.action is Action.HOLD for each in alone):
        assert together is not None
        assert together.action is Action.HOLD
    else:
        totals = [each.total_daily_mg for each in alone if each.total_daily_mg is not None]
        least = min(totals, default=None)
        assert (None if together is None else together.total_daily_mg) == least


@QUICK
@given(cases())
def test_no_interaction_raises_a_dose_above_the_one_in_force(given_case: facts.CaseFacts) -> None:
    for found in advice(given_case).findings:
        if found.code.startswith("INT-") and found.proposal is not None:
            total = found.proposal.total_daily_mg
            assert total is None or given_case.regimen is not None
            assert total is None or total < given_case.regimen.total_daily_mg


ENDS = st.lists(st.integers(1, 400), min_size=5, max_size=5, unique=True).map(
    lambda tenths: [Decimal(each) / 10 for each in sorted(tenths)]
)


@QUICK
@given(ENDS, st.lists(st.booleans(), min_size=5, max_size=5), st.lists(LEVELS, min_size=1))
def test_bands_that_touch_give_every_value_the_band_of_its_one_row(
    ends: list[Decimal], closed: list[bool], values: list[Decimal]
) -> None:
    """Wherever the limits lie, and whichever of two neighbours holds the limit itself."""
    rows = tuple(
        replace(
            row,
            low=ends[number - 1] if number else Decimal(0),
            low_included=not closed[number - 1] if number else True,
            high=ends[number] if number < 5 else None,
            high_included=closed[number] if number < 5 else False,
        )
        for number, band in enumerate(Band)
        for row in book().level_bands
        if row.band is band
    )
    rules = replace(book(), level_bands=rows)
    for value in (*values, *ends):
        exact = Fraction(value)
        assert [row.band for row in rows if row.holds(exact)] == [band_of(exact, None, rules)]
        assert band_of(exact, regimen(), rules) is band_of(exact, None, rules)


@QUICK
@given(LEVELS, LEVELS, AIMS)
def test_a_higher_level_is_never_in_a_lower_band(
    one: Decimal, other: Decimal, aim: tuple[Decimal | None, Decimal | None]
) -> None:
    own = regimen(target_low_ng_per_ml=aim[0], target_high_ng_per_ml=aim[1])
    low, high = sorted((one, other))
    for rules in (book(), first_book()):
        order = [list(Band).index(band_of(Fraction(each), own, rules)) for each in (low, high)]
        # Between the alarms the patient's own target orders them; an alarm is beyond all of those.
        assert order[0] <= order[1]


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
