"""The signed acts: what each writes, what each refuses, and that all or nothing is written."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, connection, models, transaction

from dosing.checks import (
    Answer,
    AnswerReason,
    BareOverride,
    DoseNotConfirmed,
    Product,
    UnansweredFinding,
    questions,
)
from dosing.models import (
    Assessment,
    Decision,
    DoseOrder,
    Factor,
    Formulation,
    Intent,
    Meaning,
    ReasonCode,
    Regimen,
    SignedOrder,
)
from dosing.selectors import DoseStep, acts_of, current_regimen, dose_steps, open_order, orders_of
from dosing.services import (
    AlreadyOnTacrolimus,
    NoActiveRegimen,
    ShownChanged,
    StaleAssessment,
    advise,
    assess_patient,
    hold_regimen,
    interruption_digest,
    order_dose,
    replay,
    resume_regimen,
    shown_digest,
    start_regimen,
    stop_regimen,
)
from patients.models import Patient
from patients.selectors import facts_number
from patients.services import stop_co_medication
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import UnsignedWrite
from tests.dosing.conftest import PROGRAF, answered, assessed, ordered, prescription, started
from tests.factories import (
    NOW,
    a_clinic,
    a_newer_book,
    a_patient,
    a_signature,
    by_system,
    recorded,
    takes,
)

TODAY = NOW.date()


def start(
    patient: Patient, made: Assessment, morning: str, evening: str, **changes: Any
) -> DoseOrder:
    keep = ("product", "at", "by", "shown_sha256")
    given = {name: changes.pop(name) for name in keep if name in changes}
    return start_regimen(
        patient=patient,
        prescription=prescription(made, morning, evening, **changes),
        assessment=made,
        factor=Factor.PASSWORD,
        product=given.get("product", PROGRAF),
        at=given.get("at", NOW),
        by=given.get("by") or a_signature(patient.clinic),
        shown_sha256=given.get("shown_sha256", ""),
    )


def order(
    regimen: Regimen, made: Assessment, morning: str, evening: str, **changes: Any
) -> DoseOrder:
    keep = ("at", "by", "shown_sha256")
    given = {name: changes.pop(name) for name in keep if name in changes}
    return order_dose(
        regimen=regimen,
        prescription=prescription(made, morning, evening, **changes),
        assessment=made,
        factor=Factor.PASSWORD,
        at=given.get("at", NOW),
        by=given.get("by") or a_signature(regimen.patient.clinic),
        shown_sha256=given.get("shown_sha256", ""),
    )


def hold(regimen: Regimen, **changes: Any) -> SignedOrder:
    values: dict[str, Any] = {"reason_code": ReasonCode.INFECTION, "factor": Factor.PASSWORD}
    values |= {"at": NOW, "by": a_signature(regimen.patient.clinic)}
    return hold_regimen(regimen=regimen, **(values | changes))


def stop(regimen: Regimen, **changes: Any) -> SignedOrder:
    values: dict[str, Any] = {"reason_code": ReasonCode.COMPLETED, "factor": Factor.PASSWORD}
    values |= {"at": NOW, "by": a_signature(regimen.patient.clinic)}
    return stop_regimen(regimen=regimen, **(values | changes))


def steps_of(patient: Patient) -> tuple[DoseStep, ...]:
    return dose_steps(orders_of(patient), acts_of(patient))


# What each act writes


def test_an_assessment_keeps_facts_answer_and_versions_and_reproduces(patient: Patient) -> None:
    made = assessed(patient)
    made.refresh_from_db()
    assert made.rule_book.version == made.advice["rule_book"] == "2026-02"
    assert made.facts_version == facts_number(patient)
    assert made.case["at"] == "2026-03-02T10:00:00+01:00"
    assert replay(made).same
    facts, advice = advise(patient, at=NOW)
    assert advice.proposal is not None
    assert str(advice.proposal.total_daily_mg) == "4.5"
    assert facts.intent == "START"


def test_a_start_writes_course_order_and_signature_in_one_act(patient: Patient) -> None:
    made = assessed(patient)
    by = a_signature(patient.clinic)
    dose = start(patient, made, "2.5", "2", reason_code=ReasonCode.START, reason_text="", by=by)
    assert dose.decision == Decision.ACCEPTED
    assert dose.regimen.started_on == TODAY
    signed = SignedOrder.objects.get(order=dose)
    assert (signed.meaning, signed.printed_name, signed.role) == (
        Meaning.STARTED, by.actor_name, "Prescriber",
    )  # fmt: skip
    assert (signed.factor, signed.reason) == ("PASSWORD", "Start of therapy")
    act = LedgerEntry.objects.latest("pk")
    assert (act.act, act.reason, act.actor_name) == (
        "Tacrolimus started", "Start of therapy", by.actor_name,
    )  # fmt: skip
    assert len(json.loads(act.text)["rows"]) == 3


def test_the_answers_are_kept_with_the_order(patient: Patient) -> None:
    made = assessed(patient)
    key = questions(made.advice)[0].key
    said = answered(made) | {key: Answer(reason=AnswerReason.OTHER, text="drawn today")}
    kept = json.loads(start(patient, made, "1", "1", answers=said).answers)
    assert kept[key] == {"reason": "OTHER", "text": "drawn today"}
    assert set(kept) == {question.key for question in questions(made.advice)}


def test_a_new_order_closes_the_last_one(on_tacrolimus: Regimen) -> None:
    first = open_order(on_tacrolimus)
    second = ordered(on_tacrolimus, "2", "2", at=NOW)
    assert first is not None
    first.refresh_from_db()
    assert first.closed_at == second.since == NOW
    assert open_order(on_tacrolimus) == second


def test_hold_resume_and_stop_make_the_steps_of_the_timeline(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    since = NOW - timedelta(days=30)
    held, resumed = NOW - timedelta(days=20), NOW - timedelta(days=15)
    hold(on_tacrolimus, at=held, reason_text="pneumonia")
    on_tacrolimus.refresh_from_db()
    assert on_tacrolimus.status == "HELD"
    assert open_order(on_tacrolimus) is not None
    ordered(on_tacrolimus, "1", "1", at=resumed)
    stop(on_tacrolimus)
    assert current_regimen(patient) is None
    assert open_order(on_tacrolimus) is None
    steps = [(step.since, step.until, step.total_mg, step.held) for step in steps_of(patient)]
    assert steps == [
        (since, held, 3, False),
        (held, resumed, 3, True),
        (resumed, NOW, 2, False),
    ]
    meanings = SignedOrder.objects.order_by("pk").values_list("meaning", flat=True)
    assert list(meanings) == ["STARTED", "HELD", "RESUMED", "STOPPED"]


def test_a_stop_during_a_hold_ends_the_held_step(on_tacrolimus: Regimen) -> None:
    held = NOW - timedelta(days=2)
    hold(on_tacrolimus, at=held)
    assert steps_of(on_tacrolimus.patient)[-1].until is None
    stop(on_tacrolimus)
    last = steps_of(on_tacrolimus.patient)[-1]
    assert (last.since, last.until, last.held) == (held, NOW, True)


def test_a_new_course_may_start_after_a_stop(on_tacrolimus: Regimen) -> None:
    stop(on_tacrolimus)
    again = started(on_tacrolimus.patient, "1", "1")
    assert again.regimen != on_tacrolimus
    assert Regimen.objects.count() == 2


def test_a_course_may_have_a_target_of_its_own_with_a_reason(patient: Patient) -> None:
    own = replace(PROGRAF, target_low_ng_per_ml=Decimal(4), target_high_ng_per_ml=Decimal(7))
    with pytest.raises(ValidationError, match="both limits and a reason"):
        start(patient, assessed(patient), "1", "1", product=own)
    started(patient, "1", "1", product=replace(own, target_reason="CKD"))
    case, _ = advise(patient, at=NOW)
    assert case.regimen is not None
    assert case.regimen.target_high_ng_per_ml == 7


def test_a_target_ends_where_every_level_asks_for_a_hold(patient: Patient) -> None:
    own = replace(PROGRAF, target_low_ng_per_ml=Decimal(15), target_reason="acute disease")
    too_high = replace(own, target_high_ng_per_ml=Decimal("20.1"))
    with pytest.raises(ValidationError, match="above 20 ng/mL always asks for a hold"):
        start(patient, assessed(patient), "1", "1", product=too_high)
    started(patient, "1", "1", product=replace(own, target_high_ng_per_ml=Decimal(20)))


# What the decision is


def test_the_proposal_is_accepted_without_words_and_another_dose_needs_them(
    patient: Patient,
) -> None:
    made = assessed(patient)
    with pytest.raises(BareOverride, match="Say in words why"):
        start(patient, made, "1", "1", reason_code=ReasonCode.START, reason_text=" ")
    assert start(patient, made, "1", "1").decision == Decision.MODIFIED


def test_more_than_a_critical_finding_asks_for_is_an_override(on_tacrolimus: Regimen) -> None:
    takes(on_tacrolimus.patient, "voriconazole", TODAY)
    made = assessed(on_tacrolimus.patient)
    assert made.advice["proposal"]["total_daily_mg"] == "1.0"
    with pytest.raises(BareOverride):
        order(on_tacrolimus, made, "1", "1", reason_code=ReasonCode.LEVEL_LOW, reason_text="")
    assert order(on_tacrolimus, made, "1", "1").decision == Decision.OVERRIDDEN


def test_the_same_dose_may_be_kept_against_a_proposal_but_not_for_nothing(
    on_tacrolimus: Regimen,
) -> None:
    with pytest.raises(ValidationError, match="nothing to sign"):
        ordered(on_tacrolimus, "1.5", "1.5", at=NOW)
    takes(on_tacrolimus.patient, "voriconazole", TODAY)
    assert ordered(on_tacrolimus, "1.5", "1.5", at=NOW).decision == Decision.OVERRIDDEN


def test_a_dose_against_a_hold_is_an_override_that_acts_on_nothing(on_tacrolimus: Regimen) -> None:
    recorded(
        on_tacrolimus.patient, "tacrolimus-trough", "24.0", "ng/mL", NOW, hours_since_dose="12"
    )
    made = assessed(on_tacrolimus.patient)
    assert made.advice["proposal"]["action"] == "HOLD"
    key = next(
        each.key
        for each in questions(made.advice)
        if (each.finding["proposal"] or {}).get("action") == "HOLD"
    )
    acted = answered(made) | {key: Answer(reason=AnswerReason.ACTED_ON)}
    with pytest.raises(UnansweredFinding):
        order(on_tacrolimus, made, "0.5", "0.5", answers=acted)
    assert order(on_tacrolimus, made, "0.5", "0.5").decision == Decision.OVERRIDDEN


# What is refused


@pytest.mark.parametrize("severity", ["STOP", "WARN", "CAUTION"])
def test_every_stop_warn_and_caution_must_be_answered(
    on_tacrolimus: Regimen, severity: str
) -> None:
    patient = on_tacrolimus.patient
    takes(patient, "sirolimus", TODAY)
    takes(patient, "voriconazole", TODAY)
    takes(patient, "a tea nobody knows", TODAY)
    made = assessed(patient)
    asked = [each for each in questions(made.advice) if each.finding["severity"] == severity]
    assert asked
    for question in asked:
        said = answered(made)
        del said[question.key]
        with pytest.raises(UnansweredFinding) as refused:
            order(on_tacrolimus, made, "0.5", "0.5", answers=said)
        assert set(refused.value.fields) == {f"answers.{question.key}"}
    assert DoseOrder.objects.count() == 1


def test_a_critical_finding_is_not_merely_acknowledged_and_other_needs_words(
    on_tacrolimus: Regimen,
) -> None:
    takes(on_tacrolimus.patient, "sirolimus", TODAY)
    made = assessed(on_tacrolimus.patient)
    key = next(each.key for each in questions(made.advice) if not each.acknowledge)
    for answer in (
        Answer(reason=AnswerReason.ACKNOWLEDGED),
        Answer(reason=AnswerReason.OTHER, text=" "),
    ):
        with pytest.raises(UnansweredFinding):
            order(on_tacrolimus, made, "1", "1", answers=answered(made) | {key: answer})


def test_an_answer_to_no_finding_is_an_error(patient: Patient) -> None:
    made = assessed(patient)
    said = answered(made) | {"NO-SUCH": Answer(reason=AnswerReason.WILL_MONITOR)}
    with pytest.raises(ValidationError, match="no finding NO-SUCH"):
        start(patient, made, "1", "1", answers=said)


def test_a_fact_recorded_later_makes_an_assessment_stale(patient: Patient) -> None:
    made = assessed(patient)
    recorded(patient, "potassium", "4.2", "mmol/L", NOW)
    with pytest.raises(StaleAssessment, match="recorded after this assessment"):
        start(patient, made, "1", "1")


def test_an_order_signed_later_makes_an_assessment_stale(on_tacrolimus: Regimen) -> None:
    made = assessed(on_tacrolimus.patient)
    order(on_tacrolimus, made, "2", "2")
    with pytest.raises(StaleAssessment, match="signed an order after this assessment"):
        order(on_tacrolimus, made, "2", "2.5")
    assert DoseOrder.objects.count() == 2


def test_an_assessment_of_another_day_is_stale(on_tacrolimus: Regimen) -> None:
    late = NOW.replace(hour=22, minute=50)
    made = assessed(on_tacrolimus.patient, at=late)
    with pytest.raises(StaleAssessment, match="another day"):
        order(on_tacrolimus, made, "2", "2", at=late + timedelta(minutes=20))
    with pytest.raises(StaleAssessment, match="another day"):
        order(on_tacrolimus, made, "2", "2", at=late - timedelta(minutes=1))
    order(on_tacrolimus, made, "2", "2", at=late + timedelta(minutes=5))


def test_a_new_rule_book_makes_an_assessment_stale(patient: Patient) -> None:
    made = assessed(patient)
    newer = a_newer_book()
    with pytest.raises(StaleAssessment, match="new rule book"):
        start(patient, made, "1", "1")
    assert start(patient, assessed(patient), "1", "1").assessment.rule_book == newer


def test_an_assessment_of_another_patient_or_question_is_refused(on_tacrolimus: Regimen) -> None:
    clinic = on_tacrolimus.patient.clinic
    with pytest.raises(ValidationError, match="another patient"):
        order(on_tacrolimus, assessed(a_patient(clinic)), "2", "2")
    made = assess_patient(
        patient=on_tacrolimus.patient, intent=Intent.START, at=NOW, by=a_signature(clinic)
    )
    with pytest.raises(StaleAssessment, match="Thinking of starting"):
        order(on_tacrolimus, made, "2", "2")
    with pytest.raises(AlreadyOnTacrolimus, match="Change its dose, or stop it first"):
        start(on_tacrolimus.patient, made, "1", "1")


def test_nobody_signs_for_another_clinic(on_tacrolimus: Regimen) -> None:
    stranger = a_signature(a_clinic())
    made = assessed(on_tacrolimus.patient)
    for act in (
        lambda: order(on_tacrolimus, made, "2", "2", by=stranger),
        lambda: hold(on_tacrolimus, by=stranger),
        lambda: assess_patient(
            patient=on_tacrolimus.patient, intent=Intent.REVIEW, at=NOW, by=stranger
        ),
    ):
        with pytest.raises(PermissionDenied):
            act()


def test_an_act_that_the_state_forbids_says_what_to_do(on_tacrolimus: Regimen) -> None:
    made = assessed(on_tacrolimus.patient)
    with pytest.raises(NoActiveRegimen, match="nothing to resume"):
        resume_regimen(
            regimen=on_tacrolimus,
            prescription=prescription(made, "1", "1"),
            assessment=made,
            factor=Factor.PASSWORD,
            at=NOW,
            by=a_signature(on_tacrolimus.patient.clinic),
        )
    hold(on_tacrolimus)
    with pytest.raises(NoActiveRegimen, match="Resume it"):
        hold(on_tacrolimus)
    made = assessed(on_tacrolimus.patient)
    with pytest.raises(NoActiveRegimen, match="Resume it"):
        order(on_tacrolimus, made, "1", "1")
    stop(on_tacrolimus)
    for act in (hold, stop):
        with pytest.raises(NoActiveRegimen, match="Start a new one"):
            act(on_tacrolimus)


def test_a_reason_fits_the_act(patient: Patient) -> None:
    with pytest.raises(ValidationError, match="Reasons for it: START, OTHER"):
        start(patient, assessed(patient), "2.5", "2", reason_code=ReasonCode.LEVEL_LOW)
    regimen = started(patient).regimen
    for code in (ReasonCode.START, ReasonCode.COMPLETED, ReasonCode.RESUMED):
        with pytest.raises(ValidationError, match="no reason for this act"):
            order(regimen, assessed(patient), "1", "1", reason_code=code)
    for act, code in ((hold, ReasonCode.START), (stop, ReasonCode.LEVEL_LOW)):
        with pytest.raises(ValidationError, match="no reason for this act"):
            act(regimen, reason_code=code, reason_text="x")
    assert SignedOrder.objects.count() == 1


def test_a_hold_and_a_stop_say_why(on_tacrolimus: Regimen) -> None:
    for act in (hold, stop):
        with pytest.raises(ValidationError, match="Say which reason"):
            act(on_tacrolimus, reason_code=ReasonCode.OTHER, reason_text=" ")
    assert hold(on_tacrolimus, reason_text="pneumonia").reason == "Infection: pneumonia"


@pytest.mark.parametrize(
    ("morning", "evening", "field", "said"),
    [
        ("0", "1", "morning_mg", "To pause tacrolimus, hold it"),
        ("-1", "1", "morning_mg", "more than 0 mg"),
        ("1", "-1", "evening_mg", "not below 0 mg"),
        ("0.3", "1", "morning_mg", "multiples of 0.5 mg"),
        ("1", "0.25", "evening_mg", "multiples of 0.5 mg"),
    ],
)
def test_a_dose_that_is_none_is_told_at_its_field(
    patient: Patient, morning: str, evening: str, field: str, said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        start(patient, assessed(patient), morning, evening)
    assert said in refused.value.message_dict[field][0]


def test_a_once_daily_product_has_no_evening_dose(patient: Patient) -> None:
    advagraf = Product(formulation=Formulation.ER, brand="Advagraf")
    with pytest.raises(ValidationError, match="once a day"):
        start(patient, assessed(patient), "2", "2", product=advagraf)
    dose = start(patient, assessed(patient), "2", "0", product=advagraf)
    assert dose.total_daily_mg == 2


def test_an_immediate_release_dose_once_a_day_must_be_confirmed(patient: Patient) -> None:
    made = assessed(patient)
    with pytest.raises(DoseNotConfirmed, match="taken twice a day"):
        start(patient, made, "1", "0")
    assert start(patient, made, "1", "0", confirmed=True).evening_mg == 0


def test_above_the_guard_the_dose_needs_words(patient: Patient) -> None:
    made = assessed(patient)
    bare = {"reason_code": ReasonCode.START, "reason_text": " "}
    with pytest.raises(DoseNotConfirmed, match=r"above the usual maximum of 10 mg/day \(D21\)"):
        start(patient, made, "5.5", "5", **bare)
    assert start(patient, made, "5.5", "5", reason_text="a board decision").total_daily_mg > 10


def test_the_guard_by_weight_uses_the_newest_weight(patient: Patient) -> None:
    recorded(patient, "weight", "30.0", "kg", NOW)
    made = assessed(patient)
    bare = {"reason_code": ReasonCode.START, "reason_text": ""}
    with pytest.raises(DoseNotConfirmed, match=r"maximum of 0.3 mg/kg/day at 30 kg"):
        start(patient, made, "5", "4.5", **bare)
    with pytest.raises(BareOverride):
        start(patient, made, "4.5", "4.5", **bare)


@pytest.mark.parametrize(
    ("morning", "evening", "asked"),
    [
        ("3", "2.5", None),
        ("3", "3", "confirmed"),
        ("5", "5", "confirmed"),
        ("15", "14.5", "confirmed"),
        ("15", "15", "typed_again_mg"),
    ],
)
def test_twice_the_dose_is_confirmed_and_ten_times_typed_again(
    on_tacrolimus: Regimen, morning: str, evening: str, asked: str | None
) -> None:
    made = assessed(on_tacrolimus.patient)
    if asked is None:
        order(on_tacrolimus, made, morning, evening)
        return
    with pytest.raises(DoseNotConfirmed) as refused:
        order(on_tacrolimus, made, morning, evening)
    assert set(refused.value.fields) == {asked}
    total = Decimal(morning) + Decimal(evening)
    wrong = {"confirmed": False} if asked == "confirmed" else {"typed_again_mg": total / 10}
    with pytest.raises(DoseNotConfirmed):
        order(on_tacrolimus, made, morning, evening, **wrong)
    right = {"confirmed": True} if asked == "confirmed" else {"typed_again_mg": total}
    assert order(on_tacrolimus, made, morning, evening, **right).total_daily_mg == total


def test_the_unchanged_proposal_is_never_asked_about(on_tacrolimus: Regimen) -> None:
    stop(on_tacrolimus, at=NOW - timedelta(days=20))
    patient = on_tacrolimus.patient
    started(patient, "0.5", "0.5", at=NOW - timedelta(days=19), reason_text="low on purpose")
    regimen = current_regimen(patient)
    assert regimen is not None
    stop(regimen, at=NOW - timedelta(days=10))
    made = assessed(patient)
    assert Decimal(made.advice["proposal"]["total_daily_mg"]) > 2
    assert start(patient, made, "2.5", "2").decision == Decision.ACCEPTED


def test_what_was_shown_is_what_is_signed(patient: Patient) -> None:
    made = assessed(patient)
    dose = prescription(made, "1", "1")
    shown = shown_digest(Meaning.STARTED, PROGRAF, dose, assessment=made)
    for other in (
        shown_digest(
            Meaning.STARTED, PROGRAF, replace(dose, evening_mg=Decimal(2)), assessment=made
        ),
        shown_digest(Meaning.STARTED, PROGRAF, replace(dose, reason_text="x"), assessment=made),
        shown_digest(Meaning.STARTED, replace(PROGRAF, brand="Adport"), dose, assessment=made),
        shown_digest(Meaning.STARTED, PROGRAF, dose, assessment=assessed(patient)),
    ):
        assert other != shown
        with pytest.raises(ShownChanged, match="Review it again"):
            start(patient, made, "1", "1", shown_sha256=other)
    order = start(patient, made, "1", "1", shown_sha256=shown)
    assert order.signature.shown_sha256 == shown


def test_a_hold_of_a_dose_that_has_changed_meanwhile_is_refused(on_tacrolimus: Regimen) -> None:
    shown = interruption_digest(Meaning.HELD, on_tacrolimus, open_order(on_tacrolimus))
    ordered(on_tacrolimus, "2", "2", at=NOW)
    with pytest.raises(ShownChanged, match="Look at the chart"):
        hold(on_tacrolimus, shown_sha256=shown)


# All or nothing


def acts(regimen: Regimen, other: Patient) -> list[Any]:
    made, start_made = assessed(regimen.patient), assessed(other)
    by = a_signature(regimen.patient.clinic)
    return [
        lambda: assess_patient(patient=other, intent=Intent.START, at=NOW, by=by),
        lambda: start(other, start_made, "1", "1", by=by),
        lambda: order(regimen, made, "2", "2", by=by),
        lambda: hold(regimen, by=by),
        lambda: stop(regimen, by=by),
    ]


def test_without_its_ledger_entry_nothing_is_written(
    on_tacrolimus: Regimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = a_patient(on_tacrolimus.patient.clinic)
    every = acts(on_tacrolimus, other)
    watched: tuple[type[models.Model], ...] = (Assessment, Regimen, DoseOrder, SignedOrder)
    before = [list(model._default_manager.order_by("pk").values()) for model in watched]

    def broken(act: object) -> None:
        raise OSError("the ledger cannot be written")

    monkeypatch.setattr("tacroweb.audit.ledger.append", broken)
    for act in every:
        with pytest.raises(OSError, match="ledger"):
            act()
    assert before == [list(model._default_manager.order_by("pk").values()) for model in watched]


def test_a_refused_act_leaves_no_trace_in_the_ledger(on_tacrolimus: Regimen) -> None:
    made = assessed(on_tacrolimus.patient)
    by = a_signature(on_tacrolimus.patient.clinic)
    before = LedgerEntry.objects.count()
    with pytest.raises(ValidationError):
        order(on_tacrolimus, made, "0", "1", by=by)
    assert LedgerEntry.objects.count() == before
    assert facts_number(on_tacrolimus.patient) == made.facts_version


def test_no_order_is_written_outside_a_service(on_tacrolimus: Regimen) -> None:
    dose = open_order(on_tacrolimus)
    assert dose is not None
    dose.morning_mg = Decimal(9)
    with pytest.raises(UnsignedWrite):
        dose.save()
    with pytest.raises(UnsignedWrite):
        dose.sign(by_system()).save()


# What the database itself holds


def raw(sql: str, *values: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.mark.parametrize(
    "change",
    [
        "morning_mg = 0",
        "morning_mg = -1",
        "evening_mg = -0.5",
        "reason_code = ''",
        "reason_text = '', decision = 'OVERRIDDEN'",
        "reason_text = '', reason_code = 'OTHER', decision = 'ACCEPTED'",
        "closed_at = '2020-01-01 00:00:00+00:00'",
    ],
)
def test_the_database_refuses_an_order_that_is_none(on_tacrolimus: Regimen, change: str) -> None:
    with pytest.raises(IntegrityError):
        raw(f"UPDATE dosing_doseorder SET {change}")


def copied(table: str, **changes: str) -> None:
    """Insert a copy of the table's one row with some columns changed, past every Python check."""
    with connection.cursor() as cursor:
        names = [
            each.name for each in connection.introspection.get_table_description(cursor, table)
        ]
    names.remove("id")
    picked = ", ".join(changes.get(name, f'"{name}"') for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    raw(f"INSERT INTO {table} ({columns}) SELECT {picked} FROM {table}")


NEW_ID = "'0f0e0d0c0b0a09080706050403020100'"


def test_the_database_refuses_a_second_open_order_and_a_second_course(
    on_tacrolimus: Regimen,
) -> None:
    new_id = NEW_ID + ("::uuid" if connection.vendor == "postgresql" else "")
    with pytest.raises(IntegrityError):
        copied("dosing_doseorder", public_id=new_id)
    with pytest.raises(IntegrityError):
        copied("dosing_regimen", public_id=new_id)
    copied("dosing_regimen", public_id=new_id, status="'STOPPED'", stopped_on="'2026-01-01'")


def test_the_database_refuses_a_signature_without_a_reason(on_tacrolimus: Regimen) -> None:
    for changes in ({"reason": "''"}, {"reason_code": "''"}):
        with pytest.raises(IntegrityError):
            copied("dosing_signedorder", order_id="NULL", **changes)
    copied("dosing_signedorder", order_id="NULL")


# The journeys


def test_j1_from_registration_to_an_adjusted_dose(patient: Patient) -> None:
    made = assessed(patient, at=NOW)
    assert any("S24" in each["statements"] for each in made.advice["findings"])
    dose = start(patient, made, "2.5", "2", reason_code=ReasonCode.START, reason_text="")
    later = NOW + timedelta(days=7)
    recorded(patient, "tacrolimus-trough", "12.0", "ng/mL", later, hours_since_dose="12")
    made = assessed(patient, at=later)
    proposal = made.advice["proposal"]
    assert (proposal["action"], proposal["total_daily_mg"]) == ("CHANGE", "3.0")
    order_dose(
        regimen=dose.regimen,
        prescription=prescription(
            made,
            proposal["morning_mg"],
            proposal["evening_mg"],
            reason_code=ReasonCode.LEVEL_HIGH,
            reason_text="",
        ),
        assessment=made,
        factor=Factor.PASSWORD,
        at=later,
        by=a_signature(patient.clinic),
    )
    assert assessed(patient, at=later).advice["proposal"] is None


def test_j2_voriconazole_cuts_to_one_third_and_its_stop_proposes_no_step(
    on_tacrolimus: Regimen,
) -> None:
    patient = on_tacrolimus.patient
    drug = takes(patient, "voriconazole", TODAY)
    made = assessed(patient)
    assert made.advice["proposal"]["arithmetic"].startswith("3.0 mg/day × 1/3 = 1.0")
    proposed = {"reason_code": ReasonCode.INHIBITOR_STARTED, "reason_text": ""}
    assert order(on_tacrolimus, made, "0.5", "0.5", **proposed).decision == Decision.ACCEPTED
    made = assessed(patient)
    assert made.advice["proposal"] is None
    assert not any("S40" in each["statements"] for each in made.advice["findings"])
    later = NOW + timedelta(days=10)
    stop_co_medication(
        co_medication=drug,
        stopped_on=later.date(),
        at=later,
        by=a_signature(patient.clinic),
    )
    made = assessed(patient, at=later)
    told = [each for each in made.advice["findings"] if "S52" in each["statements"]]
    assert told
    assert "3.0 mg/day" in told[0]["message"]
    assert made.advice["proposal"] is None
