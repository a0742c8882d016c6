"""The pages: a dose from its assessment to its signature, as a prescriber clicks it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from dosing.checks import questions
from dosing.models import Assessment, Decision, DoseOrder, Meaning, Regimen, SignedOrder
from dosing.selectors import current_regimen, open_order
from patients.models import Patient
from tacroweb.accounts.roles import Role
from tests.factories import NOW, PASSWORD, a_clinic, a_patient, a_person, recorded, takes


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def signed_in(patient: Patient, role: Role = Role.PRESCRIBER) -> Client:
    client = Client()
    client.force_login(a_person(patient.clinic, role))
    return client


def assess(client: Client, patient: Patient, **typed: str) -> Assessment:
    response = client.post(reverse("dosing:assess", args=[patient.public_id]), typed)
    made = Assessment.objects.latest("pk")
    assert response["Location"] == url("assessment", made)
    return made


def url(name: str, made: Assessment) -> str:
    return reverse(f"dosing:{name}", args=[made.patient.public_id, made.public_id])


def typed(made: Assessment, morning: str, evening: str, **changes: str) -> dict[str, str]:
    """The order form filled in, every question answered."""
    fields = {"morning_mg": morning, "evening_mg": evening, "reason_code": "OTHER"}
    fields["reason_text"] = "agreed at the board"
    if made.intent == "START":
        fields |= {"formulation": "IR", "brand": "Prograf", "reason_code": "START"}
        fields["starting_dose"] = "OTHER"
    for question in questions(made.advice):
        fields[f"answer_{question.key}"] = "on" if question.acknowledge else "WILL_MONITOR"
    return fields | changes


def digest(response: Any) -> str:
    return str(response.context["review"].shown_sha256)


def sign(client: Client, made: Assessment, fields: dict[str, str], **changes: str) -> Any:
    reviewed = client.post(url("review", made), fields)
    assert "review" in reviewed.context, reviewed.context["form"].errors
    signed = {"password": PASSWORD, "shown_sha256": digest(reviewed)} | changes
    return client.post(url("sign", made), fields | signed)


def test_a_start_is_picked_reviewed_and_signed(patient: Patient) -> None:
    client = signed_in(patient)
    made = assess(client, patient)
    page = client.get(url("assessment", made))
    text = page.content.decode()
    assert "By weight: 4.5 mg/day" in text
    assert "Fixed: 3 mg/day" in text
    assert "S16" in text
    fields = typed(made, "", "", starting_dose="WEIGHT", reason_text="")
    response = sign(client, made, fields)
    assert response["Location"] == reverse("chart", args=[patient.public_id])
    order = DoseOrder.objects.get()
    assert (order.morning_mg, order.evening_mg) == (Decimal("2.5"), Decimal("2"))
    assert order.decision == Decision.ACCEPTED
    assert order.regimen.brand == "Prograf"
    signature = SignedOrder.objects.get(order=order)
    assert signature.shown_sha256
    assert signature.factor == "PASSWORD"


def test_the_fixed_start_says_of_itself_why_it_departs(patient: Patient) -> None:
    client = signed_in(patient)
    made = assess(client, patient)
    sign(client, made, typed(made, "", "", starting_dose="FIXED-2", reason_text=""))
    order = DoseOrder.objects.get()
    assert (order.total_daily_mg, order.decision) == (2, Decision.MODIFIED)
    assert "S8" in order.reason_text


def test_a_typed_dose_must_not_contradict_the_picked_one(patient: Patient) -> None:
    client = signed_in(patient)
    made = assess(client, patient)
    page = client.post(url("review", made), typed(made, "1", "1", starting_dose="WEIGHT"))
    assert "choose that one, or clear it" in page.content.decode()


def test_the_change_form_begins_with_the_proposal(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    takes(patient, "voriconazole", NOW.date())
    client = signed_in(patient)
    made = assess(client, patient)
    page = client.get(url("assessment", made)).content.decode()
    assert "3.0 mg/day × 1/3 = 1.0 mg/day" in page
    assert 'name="morning_mg" value="0.5"' in page
    fields = typed(made, "0.5", "0.5", reason_code="INHIBITOR_STARTED", reason_text="")
    assert sign(client, made, fields).status_code == 302
    order = open_order(on_tacrolimus)
    assert order is not None
    assert (order.total_daily_mg, order.decision) == (1, Decision.ACCEPTED)


def test_the_review_shows_what_is_signed_and_how_far_it_is_from_the_dose_before(
    on_tacrolimus: Regimen,
) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    page = client.post(url("review", made), typed(made, "3.5", "3.5")).content.decode()
    assert "7 mg/day (0.114 mg/kg/day)" in page
    assert "+133\N{NO-BREAK SPACE}%" in page
    assert "2.3 times the last 3 mg/day" in page


def test_more_than_twice_is_asked_once(on_tacrolimus: Regimen) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    fields = typed(made, "3.5", "3.5")
    refused = sign(client, made, fields)
    assert refused.status_code == 409
    assert "confirm that this is meant" in refused.content.decode()
    assert sign(client, made, fields, confirmed="on").status_code == 302


def test_ten_times_must_be_typed_again(patient: Patient, on_tacrolimus: Regimen) -> None:
    client = signed_in(patient)
    made = assess(client, patient)
    fields = typed(made, "15", "15")
    assert sign(client, made, fields, confirmed="on", typed_again_mg="3").status_code == 409
    assert DoseOrder.objects.count() == 1
    assert sign(client, made, fields, typed_again_mg="30").status_code == 302


def test_a_wrong_password_signs_nothing_and_keeps_what_was_typed(on_tacrolimus: Regimen) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    page = sign(client, made, typed(made, "2", "2"), password="guess").content.decode()
    assert "This is not your password. Nothing was signed." in page
    assert 'name="reason_text" value="agreed at the board"' in page
    assert DoseOrder.objects.count() == 1


def test_signing_without_the_review_is_refused(on_tacrolimus: Regimen) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    fields = typed(made, "2", "2") | {"password": PASSWORD}
    assert "Review the order first" in client.post(url("sign", made), fields).content.decode()
    fields["shown_sha256"] = "0" * 64
    refused = client.post(url("sign", made), fields)
    assert "This is not the order that you reviewed" in refused.content.decode()
    assert DoseOrder.objects.count() == 1


def test_another_dose_than_the_reviewed_one_cannot_be_signed(on_tacrolimus: Regimen) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    reviewed = client.post(url("review", made), typed(made, "2", "2"))
    forged = typed(made, "2", "2.5") | {"password": PASSWORD, "shown_sha256": digest(reviewed)}
    assert client.post(url("sign", made), forged).status_code == 409
    assert DoseOrder.objects.count() == 1


def test_a_second_click_signs_nothing_more(on_tacrolimus: Regimen) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    fields = typed(made, "2", "2")
    shown = {"shown_sha256": digest(client.post(url("review", made), fields)), "password": PASSWORD}
    assert client.post(url("sign", made), fields | shown).status_code == 302
    again = client.post(url("sign", made), fields | shown)
    assert again.status_code == 409
    assert "signed an order after this assessment" in again.content.decode()
    assert DoseOrder.objects.count() == 2


def test_a_stale_assessment_is_made_anew_with_what_was_typed(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    client = signed_in(patient)
    made = assess(client, patient)
    recorded(patient, "potassium", "4.2", "mmol/L", NOW - timedelta(hours=1))
    fields = typed(made, "2", "2")
    page = client.post(url("review", made), fields)
    assert page.status_code == 409
    assert "recorded after this assessment. Assess again" in page.content.decode()
    anew = assess(client, patient, **fields)
    text = client.get(url("assessment", anew)).content.decode()
    assert 'name="morning_mg" value="2"' in text
    assert "agreed at the board" in text


def test_an_unanswered_finding_is_told_at_its_input(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    takes(patient, "sirolimus", NOW.date())
    client = signed_in(patient)
    made = assess(client, patient)
    key = next(each.key for each in questions(made.advice) if "S73" in each.finding["statements"])
    page = client.post(url("review", made), typed(made, "2", "2") | {f"answer_{key}": ""})
    assert page.context["form"].errors[f"answer_{key}"] == [
        "Choose an answer to the finding of S73."
    ]
    assert b"There is a problem" in page.content


def test_the_finding_whose_dose_is_proposed_is_answered_by_it_and_by_no_other_dose(
    on_tacrolimus: Regimen,
) -> None:
    patient = on_tacrolimus.patient
    takes(patient, "voriconazole", NOW.date())
    client = signed_in(patient)
    made = assess(client, patient)
    form = client.get(url("assessment", made)).context["form"]
    critical = [each for each in questions(made.advice) if not each.acknowledge]
    (key,) = (each.key for each in critical if each.finding["proposal"] == made.advice["proposal"])
    assert form[f"answer_{key}"].value() == "ACTED_ON"
    others = {form[f"answer_{each.key}"].value() for each in critical} - {"ACTED_ON"}
    assert others <= {None}
    fields = typed(made, "1", "1") | {f"answer_{key}": "ACTED_ON"}
    page = client.post(url("review", made), fields)
    assert "not the one that this finding proposes" in page.content.decode()
    fields[f"answer_{key}_text"] = "level tomorrow first"
    assert "review" in client.post(url("review", made), fields).context


@pytest.mark.parametrize(
    ("morning", "said"),
    [
        ("1,5", "Write 1.5 with a point, not a comma."),
        ("1_5", "without grouping"),
        ("０.５", "with the digits 0 to 9"),
        ("0", "A dose is more than 0 mg"),
        ("-1", "cannot be negative"),
        ("1e1", "without an exponent"),
        ("0.3", "multiples of 0.5 mg"),
        ("", "Enter the morning dose in mg."),
    ],
)
def test_a_dose_that_is_none_is_told_at_its_field(
    on_tacrolimus: Regimen, morning: str, said: str
) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    page = client.post(url("review", made), typed(made, morning, "1"))
    assert said in " ".join(page.context["form"].errors["morning_mg"])


def test_hold_and_resume(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    client = signed_in(patient)
    hold = reverse("dosing:hold", args=[patient.public_id])
    shown = client.get(hold).context["form"]["shown_sha256"].value()
    fields = {"reason_code": "INFECTION", "reason_text": "pneumonia", "shown_sha256": shown}
    wrong = client.post(hold, fields | {"password": "guess"})
    assert "This is not your password" in wrong.content.decode()
    assert client.post(hold, fields | {"password": PASSWORD}).status_code == 302
    on_tacrolimus.refresh_from_db()
    assert on_tacrolimus.status == "HELD"
    page = client.get(reverse("dosing:resume", args=[patient.public_id])).content.decode()
    assert "pneumonia" in page
    made = assess(client, patient)
    assert 'name="morning_mg" value="1.5"' in client.get(url("assessment", made)).content.decode()
    assert sign(client, made, typed(made, "1", "1", reason_code="RESUMED")).status_code == 302
    assert SignedOrder.objects.latest("pk").meaning == Meaning.RESUMED


def test_stop_ends_the_course(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    client = signed_in(patient)
    stop = reverse("dosing:stop", args=[patient.public_id])
    shown = client.get(stop).context["form"]["shown_sha256"].value()
    bare = {"reason_code": "OTHER", "shown_sha256": shown, "password": PASSWORD}
    assert "Say which reason." in client.post(stop, bare).content.decode()
    assert client.post(stop, bare | {"reason_text": "moved away"}).status_code == 302
    assert current_regimen(patient) is None
    assert client.get(stop)["Location"] == reverse("chart", args=[patient.public_id])


def test_why_explains_an_order_and_reproduces_it(on_tacrolimus: Regimen) -> None:
    order = open_order(on_tacrolimus)
    assert order is not None
    client = signed_in(on_tacrolimus.patient, Role.NURSE)
    href = reverse("dosing:why", args=[on_tacrolimus.patient.public_id, order.public_id])
    page = client.get(href).content.decode()
    assert "Reproduces exactly" in page
    assert "agreed at the board" in page
    assert "Will monitor more closely" in page
    assert "rule book 2026-02" in page


def test_the_rule_book_can_be_read(patient: Patient) -> None:
    client = signed_in(patient, Role.AUDITOR)
    page = client.get(reverse("dosing:book")).content.decode()
    assert "AZOLES-STARTED" in page
    assert "Needs local approval" in page
    assert client.get(reverse("dosing:book-version", args=["1999-01"])).status_code == 404
    assert client.get("/rules/%00/").status_code == 404


def test_a_nurse_assesses_but_does_not_order(patient: Patient) -> None:
    client = signed_in(patient, Role.NURSE)
    made = assess(client, patient)
    assert "Only a prescriber can sign" in client.get(url("assessment", made)).content.decode()
    for name in ("review", "sign"):
        assert client.post(url(name, made), {}).status_code == 403
    for name in ("hold", "resume", "stop"):
        href = reverse(f"dosing:{name}", args=[patient.public_id])
        assert client.get(href).status_code == 403


def test_another_clinic_finds_nothing(on_tacrolimus: Regimen) -> None:
    order = open_order(on_tacrolimus)
    assert order is not None
    patient = on_tacrolimus.patient
    client = signed_in(a_patient(a_clinic()))
    made = order.assessment
    assert client.post(reverse("dosing:assess", args=[patient.public_id])).status_code == 404
    for name in ("assessment", "review", "sign"):
        assert client.post(url(name, made), {}).status_code == 404
    for name in ("hold", "resume", "stop"):
        href = reverse(f"dosing:{name}", args=[patient.public_id])
        assert client.get(href).status_code == 404
    href = reverse("dosing:why", args=[patient.public_id, order.public_id])
    assert client.get(href).status_code == 404


def test_a_get_where_a_form_was_sent_leads_back_and_writes_nothing(
    on_tacrolimus: Regimen,
) -> None:
    patient = on_tacrolimus.patient
    client = signed_in(patient)
    made = assess(client, patient)
    for name in ("review", "sign"):
        assert client.get(url(name, made))["Location"] == url("assessment", made)
    href = reverse("dosing:assess", args=[patient.public_id])
    assert client.get(href)["Location"] == reverse("chart", args=[patient.public_id])
    assert Assessment.objects.filter(patient=patient).count() == 2


def remarks(client: Client, made: Assessment, fields: dict[str, str]) -> dict[str, str]:
    answer = client.post(url("remarks", made), fields)
    assert answer.status_code == 200
    return dict(answer.json())


def test_the_form_says_what_stands_out_while_it_is_typed(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    recorded(patient, "tacrolimus-trough", "12.4", "ng/mL", NOW, hours_since_dose="12")
    client = signed_in(patient)
    made = assess(client, patient)
    low = {"reason_code": "LEVEL_LOW"}
    said = remarks(client, made, {"morning_mg": "7", "evening_mg": "6.5"} | low)
    assert "13.5 mg/day is above the usual maximum of 10 mg/day (D21)." in said["dose"]
    assert "13.5 mg/day is 4.5 times the last 3 mg/day." in said["dose"]
    assert "is above the target, not below it: 12.4 ng/mL on " in said["reason"]
    usual = remarks(
        client, made, {"morning_mg": "1.5", "evening_mg": "1", "reason_code": "LEVEL_HIGH"}
    )
    assert usual == {"dose": "", "reason": ""}
    assert remarks(client, made, {"morning_mg": "one", "reason_code": "NONE"}) == usual
    assert client.get(url("remarks", made))["Location"] == url("assessment", made)
    nurse = signed_in(patient, Role.NURSE)
    assert nurse.post(url("remarks", made), low).status_code == 403


def test_a_reason_that_the_level_contradicts_stands_on_the_review_and_hinders_nothing(
    on_tacrolimus: Regimen,
) -> None:
    patient = on_tacrolimus.patient
    recorded(patient, "tacrolimus-trough", "12.4", "ng/mL", NOW, hours_since_dose="12")
    client = signed_in(patient)
    made = assess(client, patient)
    fields = typed(made, "7", "6.5", reason_code="LEVEL_LOW")
    reviewed = client.post(url("review", made), fields).content.decode()
    assert "The reason and the level do not agree" in reviewed
    assert "Above the usual maximum" in reviewed
    back = client.post(url("assessment", made), fields).content.decode()
    assert "13.5 mg/day is above the usual maximum" in back
    assert sign(client, made, fields, confirmed="on").status_code == 302


def test_information_is_folded_behind_the_order_form(on_tacrolimus: Regimen) -> None:
    client = signed_in(on_tacrolimus.patient)
    made = assess(client, on_tacrolimus.patient)
    page = client.get(url("assessment", made)).content.decode()
    information = [each for each in made.advice["findings"] if each["severity"] == "INFO"]
    assert information
    assert page.index('name="morning_mg"') < page.index(f"For information ({len(information)})")
