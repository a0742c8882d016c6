"""Another product of a running course (D32) and another target (S54): signed, never an edit."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dosing.case import case_of
from dosing.checks import DoseNotConfirmed, Product, UnansweredFinding, questions
from dosing.models import (
    Assessment,
    DoseOrder,
    Factor,
    Formulation,
    Intent,
    Meaning,
    ReasonCode,
    Regimen,
    SignedOrder,
)
from dosing.rules import casefile
from dosing.rules.engine.assess import assess
from dosing.rules.engine.facts import LocalApproval
from dosing.rules.loading import engine_book
from dosing.rules.selectors import published_book
from dosing.selectors import acts_of, offered_targets, open_order, terms_at, terms_of
from dosing.services import (
    NoActiveRegimen,
    ShownChanged,
    StaleAssessment,
    change_target,
    hold_regimen,
    shown_digest,
    stop_regimen,
    switch_product,
    target_digest,
)
from tacroweb import levels
from tacroweb.accounts.roles import Role
from tacroweb.audit.ledger import canonical
from tacroweb.audit.models import LedgerEntry
from tests.dosing.conftest import PROGRAF, answered, assessed, ordered, prescription
from tests.dosing.test_api import Api, order_on
from tests.factories import NOW, PASSWORD, a_clinic, a_patient, a_person, a_signature, recorded

ADPORT = replace(PROGRAF, brand="Adport")
ENVARSUS = Product(formulation=Formulation.LCP, brand="Envarsus")
TODAY = NOW.date()


def switch(regimen: Regimen, product: Product = ADPORT, **changes: Any) -> DoseOrder:
    made = changes.pop("assessment", None) or assessed(regimen.patient)
    keep = ("at", "by", "shown_sha256")
    given = {name: changes.pop(name) for name in keep if name in changes}
    doses = changes.pop("doses", ("1.5", "1.5"))
    values = {"reason_code": ReasonCode.SUPPLY, "reason_text": "Prograf is not delivered"}
    return switch_product(
        regimen=regimen,
        product=product,
        prescription=prescription(made, *doses, **(values | changes)),
        assessment=made,
        factor=Factor.PASSWORD,
        **({"at": NOW, "by": a_signature(regimen.patient.clinic)} | given),
    )


def aim(regimen: Regimen, low: str | None, high: str | None, **changes: Any) -> SignedOrder:
    values: dict[str, Any] = {
        "reason_code": ReasonCode.RENAL,
        "reason_text": "creatinine doubled",
        "factor": Factor.PASSWORD,
        "at": NOW,
        "by": a_signature(regimen.patient.clinic),
    }
    return change_target(
        regimen=regimen,
        low_ng_per_ml=None if low is None else Decimal(low),
        high_ng_per_ml=None if high is None else Decimal(high),
        **(values | changes),
    )


def replays(made: Assessment) -> bool:
    """Whether the stored facts with the stored book still give the stored advice."""
    case, at = casefile.decode_case(made.case)
    advice = assess(case, engine_book(made.rule_book), at=at)
    return canonical(casefile.encode_advice(advice)) == made.advice_text


# A switch of the product


def test_a_switch_is_a_new_order_of_the_same_course(on_tacrolimus: Regimen) -> None:
    first = open_order(on_tacrolimus)
    made = assessed(on_tacrolimus.patient)
    order = switch(on_tacrolimus, assessment=made)
    on_tacrolimus.refresh_from_db()
    assert first is not None
    first.refresh_from_db()
    assert first.closed_at == order.since == NOW
    assert order.regimen == on_tacrolimus
    assert (on_tacrolimus.brand, on_tacrolimus.formulation) == ("Adport", "IR")
    assert (on_tacrolimus.switched_on, on_tacrolimus.switched_from) == (TODAY, "Prograf (IR)")
    signed = SignedOrder.objects.get(order=order)
    assert (signed.meaning, signed.reason) == (
        Meaning.SWITCHED,
        "Supply of the product: Prograf is not delivered",
    )
    assert signed.replaced == {"brand": "Prograf", "formulation": "IR"}
    kept = Regimen.history.filter(id=on_tacrolimus.pk).order_by("history_id")
    assert [row.brand for row in kept] == ["Prograf", "Adport"]
    act = LedgerEntry.objects.latest("pk")
    assert (act.act, act.reason) == ("Product switched", signed.reason)
    assert replays(made)
    assert replays(first.assessment)


def test_the_rules_are_told_of_the_switch(on_tacrolimus: Regimen) -> None:
    switch(on_tacrolimus)
    case = case_of(on_tacrolimus.patient, at=NOW)
    assert case.regimen is not None
    assert case.regimen.brand == "Adport"
    assert (case.regimen.switched_on, case.regimen.switched_from) == (TODAY, "Prograf (IR)")
    assert case.regimen.dose_since == NOW
    local = NOW.astimezone(on_tacrolimus.patient.clinic.zone)
    assert casefile.read_case(casefile.written(casefile.encode_case(case, local)))[0] == case


def test_the_dose_of_another_formulation_is_typed_again(on_tacrolimus: Regimen) -> None:
    doses = {"doses": ("2.5", "0")}
    with pytest.raises(DoseNotConfirmed, match="not interchangeable") as refused:
        switch(on_tacrolimus, ENVARSUS, **doses)
    assert set(refused.value.fields) == {"typed_again_mg"}
    with pytest.raises(DoseNotConfirmed):
        switch(on_tacrolimus, ENVARSUS, typed_again_mg=Decimal(25), **doses)
    with pytest.raises(ValidationError, match="once a day"):
        switch(on_tacrolimus, ENVARSUS, typed_again_mg=Decimal(3))
    order = switch(on_tacrolimus, ENVARSUS, typed_again_mg=Decimal("2.5"), **doses)
    assert order.total_daily_mg == Decimal("2.5")
    assert order.regimen.formulation == "LCP"


def test_a_switch_says_why_and_is_of_another_product(on_tacrolimus: Regimen) -> None:
    with pytest.raises(DoseNotConfirmed) as refused:
        switch(on_tacrolimus, reason_text=" ")
    assert set(refused.value.fields) == {"reason_text"}
    for same in (PROGRAF, replace(PROGRAF, brand=" prograf ")):
        with pytest.raises(ValidationError, match="taken now"):
            switch(on_tacrolimus, same)
    with pytest.raises(ValidationError, match="Enter the brand"):
        switch(on_tacrolimus, replace(PROGRAF, brand=" "))
    with pytest.raises(ValidationError, match="no reason for this act"):
        switch(on_tacrolimus, reason_code=ReasonCode.LEVEL_LOW)
    assert DoseOrder.objects.count() == 1


def test_a_switch_keeps_the_target_of_the_course(on_tacrolimus: Regimen) -> None:
    aim(on_tacrolimus, "4", "7")
    other = replace(
        ADPORT,
        target_low_ng_per_ml=Decimal(6),
        target_high_ng_per_ml=Decimal(9),
        target_reason="x",
    )
    switch(on_tacrolimus, other)
    on_tacrolimus.refresh_from_db()
    assert on_tacrolimus.target_high_ng_per_ml == 7


def test_only_a_course_that_is_given_is_switched(on_tacrolimus: Regimen) -> None:
    by = a_signature(on_tacrolimus.patient.clinic)
    made = assessed(on_tacrolimus.patient)
    ordered(on_tacrolimus, "2", "2", at=NOW)
    with pytest.raises(StaleAssessment, match="signed an order"):
        switch(on_tacrolimus, assessment=made)
    hold_regimen(
        regimen=on_tacrolimus,
        reason_code=ReasonCode.INFECTION,
        factor=Factor.PASSWORD,
        at=NOW,
        by=by,
    )
    with pytest.raises(NoActiveRegimen, match="Resume it"):
        switch(on_tacrolimus)
    stop_regimen(
        regimen=on_tacrolimus,
        reason_code=ReasonCode.COMPLETED,
        factor=Factor.PASSWORD,
        at=NOW,
        by=by,
    )
    with pytest.raises(StaleAssessment):
        switch(on_tacrolimus)


def test_a_switch_answers_the_findings_and_is_what_was_shown(on_tacrolimus: Regimen) -> None:
    recorded(
        on_tacrolimus.patient, "tacrolimus-trough", "16.0", "ng/mL", NOW, hours_since_dose="12"
    )
    made = assessed(on_tacrolimus.patient)
    assert questions(made.advice)
    with pytest.raises(UnansweredFinding):
        switch(on_tacrolimus, assessment=made, answers={})
    values: dict[str, Any] = {
        "reason_code": ReasonCode.SUPPLY,
        "reason_text": "Prograf is not delivered",
    }
    wanted = prescription(made, "1.5", "1.5", **values)
    shown = shown_digest(Meaning.SWITCHED, ADPORT, wanted, assessment=made)
    other = shown_digest(Meaning.SWITCHED, PROGRAF, wanted, assessment=made)
    with pytest.raises(ShownChanged):
        switch(on_tacrolimus, assessment=made, shown_sha256=other)
    order = switch(on_tacrolimus, assessment=made, shown_sha256=shown)
    assert order.signature.shown_sha256 == shown


# Another target


def test_another_target_is_signed_and_the_dose_stays(on_tacrolimus: Regimen) -> None:
    made = assessed(on_tacrolimus.patient)
    signed = aim(on_tacrolimus, "4", "7", assessment=made)
    on_tacrolimus.refresh_from_db()
    assert (on_tacrolimus.target_low_ng_per_ml, on_tacrolimus.target_high_ng_per_ml) == (4, 7)
    assert on_tacrolimus.target_reason == signed.reason == "Renal function: creatinine doubled"
    assert (signed.meaning, signed.order, signed.assessment) == (
        Meaning.TARGET_CHANGED,
        None,
        made,
    )
    assert signed.shown_sha256 == target_digest(on_tacrolimus)
    order = open_order(on_tacrolimus)
    assert order is not None
    assert order.closed_at is None
    case = case_of(on_tacrolimus.patient, at=NOW)
    assert case.regimen is not None
    assert case.regimen.target_high_ng_per_ml == 7
    with pytest.raises(StaleAssessment, match="changed the target"):
        switch(on_tacrolimus, assessment=made)
    aim(on_tacrolimus, None, None, reason_text="recovered")
    on_tacrolimus.refresh_from_db()
    assert (on_tacrolimus.target_low_ng_per_ml, on_tacrolimus.target_reason) == (None, "")


@pytest.mark.parametrize(
    ("low", "high", "field"),
    [
        ("4", None, "target_high_ng_per_ml"),
        (None, "7", "target_low_ng_per_ml"),
        ("0", "7", "target_low_ng_per_ml"),
        ("7", "7", "target_high_ng_per_ml"),
        ("8", "7", "target_high_ng_per_ml"),
        ("8", "20.1", "target_high_ng_per_ml"),
        (None, None, "target_low_ng_per_ml"),
    ],
)
def test_a_target_that_cannot_be_is_refused_at_its_field(
    on_tacrolimus: Regimen, low: str | None, high: str | None, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        aim(on_tacrolimus, low, high)
    assert list(refused.value.message_dict) == [field]
    assert SignedOrder.objects.filter(meaning=Meaning.TARGET_CHANGED).count() == 0


def test_a_target_says_why_and_stands_on_what_was_shown(on_tacrolimus: Regimen) -> None:
    with pytest.raises(ValidationError) as refused:
        aim(on_tacrolimus, "4", "7", reason_text=" ")
    assert list(refused.value.message_dict) == ["reason_text"]
    shown = target_digest(on_tacrolimus)
    aim(on_tacrolimus, "4", "7", shown_sha256=shown)
    with pytest.raises(ShownChanged):
        aim(on_tacrolimus, "3", "5", shown_sha256=shown)
    other = assessed(a_patient(on_tacrolimus.patient.clinic))
    with pytest.raises(ValidationError, match="another patient"):
        aim(on_tacrolimus, "3", "5", assessment=other)


def test_nobody_switches_or_aims_for_another_clinic(on_tacrolimus: Regimen) -> None:
    stranger = a_signature(a_clinic())
    with pytest.raises(PermissionDenied):
        switch(on_tacrolimus, by=stranger)
    with pytest.raises(PermissionDenied):
        aim(on_tacrolimus, "4", "7", by=stranger)


def test_the_targets_that_a_clinic_approved_are_offered(on_tacrolimus: Regimen) -> None:
    book = published_book()
    case = case_of(on_tacrolimus.patient, at=NOW)
    assert offered_targets(case, book) == ()
    row = next(iter(book.index.local_targets.values()))
    given = LocalApproval(
        row=row.code, approved_on=date(2026, 2, 1), low=Decimal(4), high=Decimal(6)
    )
    (offered,) = offered_targets(replace(case, local_approvals=(given,)), book)
    assert (offered.low_ng_per_ml, offered.high_ng_per_ml) == (4, 6)
    assert "4 to 6 ng/mL, approved by the clinic on 01-Feb-2026" in offered.words
    as_it_stands = LocalApproval(row=row.code, approved_on=date(2026, 2, 1))
    assert offered_targets(replace(case, local_approvals=(as_it_stands,)), book) == ()


# What was in force when


def test_each_stretch_of_a_course_keeps_its_product_and_target(on_tacrolimus: Regimen) -> None:
    first = open_order(on_tacrolimus)
    aim(on_tacrolimus, "4", "7", at=NOW - timedelta(days=20))
    lcp = switch(
        on_tacrolimus,
        ENVARSUS,
        doses=("2.5", "0"),
        typed_again_mg=Decimal("2.5"),
        at=NOW - timedelta(days=10),
        assessment=assessed(on_tacrolimus.patient, at=NOW - timedelta(days=10)),
    )
    aim(on_tacrolimus, None, None, at=NOW - timedelta(days=5), reason_text="recovered")
    on_tacrolimus.refresh_from_db()
    terms = terms_of([on_tacrolimus], acts_of(on_tacrolimus.patient))
    assert [(each.brand, each.formulation, each.target_high_ng_per_ml) for each in terms] == [
        ("Prograf", "IR", None),
        ("Prograf", "IR", 7),
        ("Envarsus", "LCP", 7),
        ("Envarsus", "LCP", None),
    ]
    assert [each.until for each in terms] == [*(each.since for each in terms[1:]), None]
    assert first is not None
    assert (terms_at(first).brand, terms_at(lcp).brand) == ("Prograf", "Envarsus")
    targets = levels.targets(terms, published_book(), NOW)
    assert [target.words for target in targets] == [
        "5 to 10 ng/mL",
        "4 to 7 ng/mL",
        "4 to 7 ng/mL",
        "5 to 10 ng/mL",
    ]
    assert len(levels.bands(targets)) == 3
    level = recorded(
        on_tacrolimus.patient,
        "tacrolimus-trough",
        "8.0",
        "ng/mL",
        NOW - timedelta(days=15),
        hours_since_dose="12",
    )
    assert levels.place(level, targets, NOW).status == "above"
    later = recorded(
        on_tacrolimus.patient,
        "tacrolimus-trough",
        "8.0",
        "ng/mL",
        NOW - timedelta(days=2),
        hours_since_dose="24",
    )
    assert levels.place(later, targets, NOW).status == "in_target"


def test_without_its_ledger_entry_no_switch_and_no_target_is_written(
    on_tacrolimus: Regimen, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = assessed(on_tacrolimus.patient)
    by = a_signature(on_tacrolimus.patient.clinic)
    watched: Any = (Regimen, DoseOrder, SignedOrder, Regimen.history.model)
    before = [list(model._base_manager.order_by("pk").values()) for model in watched]

    def broken(act: object) -> None:
        raise OSError("the ledger cannot be written")

    monkeypatch.setattr("tacroweb.audit.ledger.append", broken)
    for act in (
        lambda: switch(on_tacrolimus, assessment=made, by=by),
        lambda: aim(on_tacrolimus, "4", "7", by=by),
    ):
        with pytest.raises(OSError, match="ledger"):
            act()
    assert [list(model._base_manager.order_by("pk").values()) for model in watched] == before


# Pages


@pytest.fixture
def page(on_tacrolimus: Regimen) -> Any:
    client = Client()
    client.force_login(a_person(on_tacrolimus.patient.clinic, Role.PRESCRIBER))
    with time_machine.travel(NOW, tick=False):
        yield client


def address(name: str, regimen: Regimen, *args: object) -> str:
    return reverse(f"dosing:{name}", args=[regimen.patient.public_id, *args])


def typed(made: Assessment, **changes: str) -> dict[str, str]:
    fields = {"act": "switch", "formulation": "LCP", "brand": "Envarsus"}
    fields |= {"morning_mg": "2.5", "evening_mg": "0", "reason_code": "SUPPLY"}
    fields["reason_text"] = "Prograf is not delivered"
    for question in questions(made.advice):
        fields[f"answer_{question.key}"] = "on" if question.acknowledge else "WILL_MONITOR"
    return fields | changes


def test_a_switch_is_typed_reviewed_and_signed(on_tacrolimus: Regimen, page: Client) -> None:
    first = open_order(on_tacrolimus)
    to = page.post(address("assess", on_tacrolimus), {"act": "switch"})["Location"]
    assert to.endswith("?act=switch")
    shown = page.get(to).content.decode()
    assert "Switch the product" in shown
    assert "not interchangeable (D32)" in shown
    assert 'name="morning_mg" value' not in shown
    made = Assessment.objects.latest("pk")
    review = address("review", on_tacrolimus, made.public_id)
    same = page.post(review, typed(made, formulation="IR", brand="Prograf"))
    assert same.context["form"].errors["brand"] == ["This is the product that is taken now."]
    bare = page.post(review, typed(made, reason_text=""))
    assert "Say in words why" in " ".join(bare.context["form"].errors["reason_text"])
    reviewed = page.post(review, typed(made))
    text = reviewed.content.decode()
    assert "Product before" in text
    assert "Tacrolimus Envarsus, LCP extended release (Envarsus), once daily" in text
    sent = typed(made) | {
        "password": PASSWORD,
        "shown_sha256": reviewed.context["review"].shown_sha256,
    }
    sign = address("sign", on_tacrolimus, made.public_id)
    asked = page.post(sign, sent)
    assert asked.status_code == 409
    assert "once more" in asked.content.decode()
    wrong = page.post(sign, sent | {"typed_again_mg": "2.5", "password": "guess"})
    assert "This is not your password" in wrong.content.decode()
    done = page.post(sign, sent | {"typed_again_mg": "2.5"})
    assert done["Location"] == reverse("chart", args=[on_tacrolimus.patient.public_id])
    chart = page.get(done["Location"]).content.decode()
    assert "Prograf (IR) until 02-Mar-2026" in chart
    assert first is not None
    why = page.get(address("why", on_tacrolimus, first.public_id)).content.decode()
    assert "Prograf, immediate release" in why


def test_a_stale_switch_is_assessed_anew_with_what_was_typed(
    on_tacrolimus: Regimen, page: Client
) -> None:
    page.post(address("assess", on_tacrolimus), {"act": "switch"})
    made = Assessment.objects.latest("pk")
    recorded(on_tacrolimus.patient, "potassium", "4.2", "mmol/L", NOW - timedelta(hours=1))
    stale = page.post(address("review", on_tacrolimus, made.public_id), typed(made))
    assert stale.status_code == 409
    to = page.post(address("assess", on_tacrolimus), typed(made))["Location"]
    assert to.endswith("?act=switch")
    assert 'value="Envarsus"' in page.get(to).content.decode()


def test_a_target_is_typed_and_signed_with_the_password(
    on_tacrolimus: Regimen, page: Client
) -> None:
    target = address("target", on_tacrolimus)
    shown = page.get(target)
    assert "approved no lower target" in shown.content.decode()
    assert "5 to 10 ng/mL" in shown.content.decode()
    fields = {
        "target": "OTHER",
        "target_low_ng_per_ml": "4",
        "target_high_ng_per_ml": "7",
        "reason_code": "RENAL",
        "reason_text": "creatinine doubled",
        "shown_sha256": shown.context["form"]["shown_sha256"].value(),
    }
    for wrong, name in (
        ({"password": "guess"}, "password"),
        ({"reason_text": ""}, "reason_text"),
        ({"target_low_ng_per_ml": "4,5"}, "target_low_ng_per_ml"),
        ({"target_low_ng_per_ml": ""}, "target_low_ng_per_ml"),
        ({"target_high_ng_per_ml": "21"}, "target_high_ng_per_ml"),
        ({"reason_code": "START"}, "reason_code"),
    ):
        refused = page.post(target, fields | {"password": PASSWORD} | wrong)
        assert list(refused.context["form"].errors) == [name]
    assert page.post(target, fields | {"password": PASSWORD}).status_code == 302
    chart = page.get(reverse("chart", args=[on_tacrolimus.patient.public_id])).content.decode()
    assert "target 4 to 7 ng/mL" in chart
    assert "Renal function: creatinine doubled" in chart
    again = page.post(target, fields | {"password": PASSWORD})
    assert again.status_code == 409
    fresh = page.get(target).context["form"]["shown_sha256"].value()
    back = {"target": "BOOK", "reason_code": "OTHER", "reason_text": "recovered"}
    back |= {"shown_sha256": fresh, "password": PASSWORD}
    contradicted = page.post(target, back | {"target_low_ng_per_ml": "3"})
    assert list(contradicted.context["form"].errors) == ["target"]
    assert page.post(target, back).status_code == 302
    on_tacrolimus.refresh_from_db()
    assert on_tacrolimus.target_low_ng_per_ml is None


def test_without_a_course_there_is_no_target_to_change(
    on_tacrolimus: Regimen, page: Client
) -> None:
    stop_regimen(
        regimen=on_tacrolimus,
        reason_code=ReasonCode.COMPLETED,
        factor=Factor.PASSWORD,
        at=NOW,
        by=a_signature(on_tacrolimus.patient.clinic),
    )
    assert page.get(address("target", on_tacrolimus)).status_code == 302


def test_a_nurse_and_another_clinic_change_neither(on_tacrolimus: Regimen) -> None:
    for clinic, status in ((on_tacrolimus.patient.clinic, 403), (a_clinic(), 404)):
        role = Role.NURSE if status == 403 else Role.PRESCRIBER
        client = Client()
        client.force_login(a_person(clinic, role))
        assert client.get(address("target", on_tacrolimus)).status_code == status
        assert client.post(address("target", on_tacrolimus), {}).status_code == status


# The API


def test_switch_and_target_through_the_api(on_tacrolimus: Regimen) -> None:
    with time_machine.travel(NOW, tick=False):
        api = Api(on_tacrolimus.patient)
        course = f"regimens/{on_tacrolimus.public_id}"
        body = {"formulation": "LCP", "brand": "Envarsus", "reason_code": "SUPPLY"}
        made = api.assess(on_tacrolimus.patient)
        status, refused = api.post(f"{course}/switch", order_on(made, "2.5", "0", **body))
        assert (status, refused["code"]) == (409, "dose_not_confirmed")
        assert list(refused["fields"]) == ["typed_again_mg"]
        body["typed_again_mg"] = "2.5"
        status, regimen = api.post(f"{course}/switch", order_on(made, "2.5", "0", **body))
        assert status == 200, regimen
        assert (regimen["brand"], regimen["formulation"]) == ("Envarsus", "LCP")
        assert (regimen["switched_on"], regimen["switched_from"]) == (
            "2026-03-02",
            "Prograf (IR)",
        )
        assert regimen["order"]["signature"]["meaning"] == "SWITCHED"
        assert api.get(f"{course}/targets/") == (200, [])
        target = {
            "target_low_ng_per_ml": "4",
            "target_high_ng_per_ml": "7.5",
            "reason_code": "RENAL",
            "reason_text": "creatinine doubled",
            "password": PASSWORD,
        }
        for wrong, field in (
            ({"target_low_ng_per_ml": 4}, "target_low_ng_per_ml"),
            ({"target_high_ng_per_ml": "3"}, "target_high_ng_per_ml"),
            ({"reason_text": ""}, "reason_text"),
            ({"password": "guess"}, "password"),
            ({"low": "4"}, "low"),
        ):
            status, refused = api.post(f"{course}/target", target | wrong)
            assert (status, list(refused["fields"])) == (400, [field])
        status, regimen = api.post(f"{course}/target", target)
        assert (status, regimen["target_high_ng_per_ml"]) == (200, "7.5")
        nurse = Api(on_tacrolimus.patient, Role.NURSE)
        assert nurse.post(f"{course}/target", target)[0] == 403
        assert nurse.get(f"{course}/targets/")[0] == 200


def test_the_trail_names_both_acts_and_what_they_changed(on_tacrolimus: Regimen) -> None:
    switch(on_tacrolimus)
    aim(on_tacrolimus, "4", "7")
    client = Client()
    client.force_login(a_person(on_tacrolimus.patient.clinic, Role.AUDITOR))
    page = client.get(reverse("audit:patient", args=[on_tacrolimus.patient.public_id]))
    text = page.content.decode()
    for words in ("Product switched", "Target changed", "Adport", "Signature: switched the"):
        assert words in text


def test_terms_cost_one_query_for_any_number_of_acts(on_tacrolimus: Regimen) -> None:
    aim(on_tacrolimus, "4", "7")
    aim(on_tacrolimus, "4", "6")
    with CaptureQueriesContext(connection) as seen:
        terms_of([on_tacrolimus], acts_of(on_tacrolimus.patient))
    assert len(seen) == 1


def test_the_intent_of_a_switch_is_a_review(on_tacrolimus: Regimen) -> None:
    made = assessed(on_tacrolimus.patient)
    assert made.intent == Intent.REVIEW
    assert answered(made).keys() == {each.key for each in questions(made.advice)}
