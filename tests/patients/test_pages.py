"""The pages about patients: shown, sent, refused with what was typed, closed to strangers."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from patients.models import (
    ClinicalEvent,
    CoMedication,
    Diagnosis,
    Immunisation,
    Observation,
    Patient,
)
from patients.selectors import newest
from patients.services import correct_patient
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tests.factories import NOW, a_patient, a_person, by_system, recorded, takes

DAY = "2026-02-27"


def url(name: str, patient: Patient, *args: object) -> str:
    return reverse(f"patients:{name}", args=[patient.public_id, *args])


def chart(patient: Patient) -> str:
    return reverse("chart", args=[patient.public_id])


REGISTRATION = {
    "mrn": "0041182207",
    "family_name": "Sato",
    "given_name": "Rin",
    "birth_date": "1960-05-01",
    "sex": "FEMALE",
    "allergy_status": "NONE_KNOWN",
    "ild": "yes",
    "sard": "IIM",
    "subtype": "CADM",
    "anti_mda5": "yes",
    "weight": "61.5",
    "height": "162",
    "drawn_at": "2026-02-27T08:30",
}


def test_a_patient_is_registered_with_disease_weight_and_height(page: Client) -> None:
    assert page.get(reverse("patients:register")).status_code == 200
    answer = page.post(reverse("patients:register"), REGISTRATION)
    patient = Patient.objects.get(mrn="0041182207")
    assert answer.url == chart(patient)
    assert Diagnosis.objects.get(patient=patient).anti_mda5 is True
    results = newest(patient, "weight", "height")
    assert {key: row.entered for key, row in results.items()} == {"weight": "61.5", "height": "162"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("weight", "6", "not plausible"),
        ("weight", "700", "not plausible"),
        ("weight", "61,5", "Write 61.5 with a point"),
        ("birth_date", "2999-01-01", "in the future"),
        ("birth_date", "1960-5-1", "Write the day as"),
        ("drawn_at", "2999-01-01T08:30", "in the future"),
        ("drawn_at", "", "Say when"),
        ("sard", "RA", "Only an inflammatory myopathy"),
        ("mrn", "", "Enter the MRN."),
    ],
)
def test_a_registration_refused_writes_nothing_and_keeps_what_was_typed(
    field: str, value: str, words: str, page: Client
) -> None:
    answer = page.post(reverse("patients:register"), REGISTRATION | {field: value})
    text = answer.content.decode()
    assert words in text
    assert 'value="Sato"' in text
    assert not Patient.objects.exists()


def test_patients_are_found_by_name_or_number_without_an_address_that_tells(
    page: Client, clinic: Clinic, stranger: Patient
) -> None:
    a_patient(clinic, family_name="Öztürk", given_name="Ayşe", mrn="0041182207", weight_kg=None)
    a_patient(clinic, family_name="Okafor", weight_kg=None)
    address = reverse("patients:list")
    assert b"OKAFOR" in page.get(address).content
    for text in ("öztürk", "ztürk ayş", "004 118 2207", "00411"):
        found = page.post(address, {"search": text}).content.decode()
        assert "ÖZTÜRK" in found
        assert "OKAFOR" not in found
    assert b"No patient of this clinic" in page.post(address, {"search": "Marker"}).content
    assert b"MARKER" not in page.get(address).content


def test_a_search_while_typing_leads_to_the_sign_in_once_the_session_has_ended() -> None:
    answer = Client().post(
        reverse("patients:list"), {"search": "x"}, headers={"HX-Request": "true"}
    )
    assert answer.headers["HX-Redirect"] == "/sign-in/?next=/patients/"
    assert answer.content == b""


def test_the_list_of_patients_costs_the_same_for_any_number(page: Client, clinic: Clinic) -> None:
    counts = []
    for more in (1, 12):
        for _ in range(more):
            a_patient(clinic, weight_kg=None)
        with CaptureQueriesContext(connection) as seen:
            page.get(reverse("patients:list"))
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 8


def test_an_empty_clinic_offers_its_first_registration(page: Client) -> None:
    assert b"Register the first patient" in page.get(reverse("patients:list")).content


FORMS = [
    ("edit", ()),
    ("diagnosis", ()),
    ("results", ()),
    ("drug-add", ()),
    ("event-add", ()),
    ("immunisation-add", ()),
    ("record", ()),
]


@pytest.mark.parametrize("name", [name for name, _ in FORMS])
def test_a_page_shows_whom_it_is_about_and_another_clinic_none(
    name: str, page: Client, patient: Patient, stranger: Patient
) -> None:
    answer = page.get(url(name, patient))
    assert answer.status_code == 200
    assert "OKAFOR, Amara" in answer.content.decode()
    assert page.get(url(name, stranger)).status_code == 404
    if name != "record":
        assert page.post(url(name, stranger), {"drug": "x"}).status_code == 404


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.RULE_EDITOR, Role.ADMINISTRATOR])
def test_who_has_no_business_with_patients_is_refused(
    role: Role, clinic: Clinic, patient: Patient
) -> None:
    client = Client()
    client.force_login(a_person(clinic, role))
    for name, _ in FORMS:
        assert client.get(url(name, patient)).status_code == 403
    for name in ("list", "register", "upload", "upload-preview"):
        assert client.get(reverse(f"patients:{name}")).status_code == 403


def typed(page: Client, address: str) -> dict[str, str]:
    """What the form of a page holds when it is opened."""
    form = page.get(address).context["form"]
    shown = {bound.name: bound.value() for bound in form}
    return {
        name: "" if value is None else value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in shown.items()
    }


def test_a_registration_is_corrected_with_a_reason(page: Client, patient: Patient) -> None:
    address = url("edit", patient)
    sent = typed(page, address) | {"family_name": "Okoro"}
    refused = page.post(address, sent)
    assert b"Say why this is changed." in refused.content
    assert b'value="Okoro"' in refused.content
    patient.refresh_from_db()
    assert patient.family_name == "Okafor"
    assert page.post(address, sent | {"reason": "married"}).url == chart(patient)
    patient.refresh_from_db()
    assert patient.family_name == "Okoro"


def test_two_people_at_one_registration_are_told_of_each_other(
    page: Client, patient: Patient
) -> None:
    address = url("edit", patient)
    sent = typed(page, address) | {"cyp3a5": "EXPRESSER"}
    correct_patient(patient=patient, infection_risk="HIGH", at=NOW, by=by_system(patient.clinic))
    refused = page.post(address, sent)
    assert b"changed while this page was open" in refused.content
    sent["seen"] = refused.context["form"]["seen"].value()
    assert page.post(address, sent).url == chart(patient)


def test_the_diagnosis_is_recorded(page: Client, patient: Patient) -> None:
    address = url("diagnosis", patient)
    sent = typed(page, address) | {"sard": "SSC"}
    assert b"Only an inflammatory myopathy" in page.post(address, sent).content
    assert page.post(address, sent | {"subtype": ""}).url == chart(patient)
    assert Diagnosis.objects.get(patient=patient).sard == "SSC"


def test_results_of_a_draw_are_recorded_together(page: Client, patient: Patient) -> None:
    answer = page.post(
        url("results", patient),
        {
            "drawn_at": f"{DAY}T08:30",
            "value_tacrolimus-trough": "7.0",
            "unit_tacrolimus-trough": "ng/mL",
            "last_dose_at": "2026-02-26T20:00",
            "value_creatinine": "80",
            "unit_creatinine": "umol/L",
            "value_crp": "<0.6",
        },
    )
    assert answer.url == chart(patient)
    rows = newest(patient, "tacrolimus-trough", "creatinine", "crp")
    assert str(rows["tacrolimus-trough"].hours_since_dose) == "12.50"
    assert rows["creatinine"].unit_entered == "umol/L"
    assert rows["crp"].comparator == "<"
    assert rows["crp"].drawn_at.isoformat() == "2026-02-27T07:30:00+00:00"


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ({"value_potassium": "4,2"}, "value_potassium", "Write 4.2 with a point"),
        ({"value_potassium": "1_5"}, "value_potassium", "without grouping"),
        ({"value_weight": "700"}, "value_weight", "not plausible"),
        ({"value_potassium": "5.1", "unit_potassium": "mg"}, "unit_potassium", "Accepted"),
        ({"value_potassium": "5.1", "drawn_at": "2999-01-01T08:00"}, "drawn_at", "in the future"),
        ({"value_potassium": "5.1", "drawn_at": "1950-01-01T08:00"}, "drawn_at", "before"),
        ({"value_potassium": "5.1", "drawn_at": "yesterday"}, "drawn_at", "Write the day and time"),
        ({"value_tacrolimus-trough": "7"}, "hours_since_dose", "how long after"),
        ({"value_tacrolimus-trough": "7", "hours_since_dose": "12,5"}, "hours_since_dose", "point"),
        (
            {"value_tacrolimus-trough": "7", "hours_since_dose": "12", "dose_time_unknown": "on"},
            "hours_since_dose",
            "one of the three",
        ),
        (
            {"value_tacrolimus-trough": "7", "last_dose_at": f"{DAY}T09:00"},
            "last_dose_at",
            "later than the sample",
        ),
        ({}, "__all__", "at least one result"),
    ],
)
def test_results_refused_write_nothing_and_stay_typed(
    sent: dict, field: str, words: str, page: Client, patient: Patient
) -> None:
    good = {"drawn_at": f"{DAY}T08:30"} | ({"value_albumin": "4.1"} if sent else {})
    answer = page.post(url("results", patient), good | sent)
    assert words in " ".join(answer.context["form"].errors[field])
    if sent:
        assert b'value="4.1"' in answer.content
    assert not Observation.objects.filter(patient=patient).exists()


def test_a_level_whose_dose_time_is_not_known_is_kept_as_such(
    page: Client, patient: Patient
) -> None:
    sent = {
        "drawn_at": f"{DAY}T08:30",
        "value_tacrolimus-trough": "7",
        "dose_time_unknown": "on",
    }
    assert page.post(url("results", patient), sent).url == chart(patient)
    assert newest(patient, "tacrolimus-trough")["tacrolimus-trough"].hours_since_dose is None
    refused = page.post(url("results", patient), sent)
    assert b"is recorded already" in refused.content


def test_a_result_is_corrected_or_withdrawn_with_a_reason(page: Client, patient: Patient) -> None:
    row = recorded(patient, "tacrolimus-trough", "7", "ng/mL", NOW - timedelta(days=1))
    address = url("correct-result", patient, row.pk)
    sent = typed(page, address) | {"value": "9", "dose_time_unknown": "on"}
    sent["drawn_at"] = "2026-03-01T10:00"
    refused = page.post(address, sent)
    assert "reason" in refused.context["form"].errors
    assert page.post(address, sent | {"reason": "misread"}).url == chart(patient)
    right = newest(patient, "tacrolimus-trough")["tacrolimus-trough"]
    assert (right.entered, right.replaces_id) == ("9", row.pk)
    assert page.get(address).status_code == 404
    address = url("correct-result", patient, right.pk)
    assert "reason" in page.post(address, {"withdraw": "1"}).context["form"].errors
    assert page.post(address, {"withdraw": "1", "reason": "not hers"}).url == chart(patient)
    assert newest(patient, "tacrolimus-trough") == {}


def test_a_drug_is_added_stopped_and_corrected(page: Client, patient: Patient) -> None:
    sent = {"drug": "Voriconazole", "route": "ORAL", "started_on": DAY, "daily_dose_mg": "400"}
    assert page.post(url("drug-add", patient), sent).url == chart(patient)
    row = CoMedication.objects.select_related("drug").get(patient=patient)
    assert str(row) == "voriconazole"
    stop = url("drug-stop", patient, row.pk)
    assert b"before the start date" in page.post(stop, {"stopped_on": "2026-02-01"}).content
    assert page.post(stop, {"stopped_on": "2026-03-01"}).url == chart(patient)
    correct = url("drug-correct", patient, row.pk)
    kept = typed(page, correct) | {"route": "IV", "reason": "it was an infusion"}
    kept.pop("planned")
    kept.pop("unlisted")
    assert page.post(correct, kept).url == chart(patient)
    row.refresh_from_db()
    assert (row.route, row.stopped_on.isoformat()) == ("IV", "2026-03-01")
    assert "reason" in page.post(correct, {"withdraw": "1"}).context["form"].errors
    assert page.post(correct, {"withdraw": "1", "reason": "never taken"}).url == chart(patient)
    row.refresh_from_db()
    assert row.withdrawn


def test_a_change_of_dose_is_recorded_shown_and_put_right(page: Client, patient: Patient) -> None:
    row = takes(patient, "prednisone", NOW.date(), daily_dose_mg=Decimal(40))
    address = url("drug-dose", patient, row.pk)
    assert "Taken until now: 40" in page.get(address).content.decode()
    for sent, words in (
        ({"daily_dose_mg": "30"}, "Enter the first day of this dose."),
        ({"on": "2026-03-02"}, "Enter the daily dose in mg."),
        ({"daily_dose_mg": "1,5", "on": "2026-03-02"}, "with a point"),
        ({"daily_dose_mg": "40", "on": "2026-03-02"}, "taken already"),
        ({"daily_dose_mg": "30", "on": "2026-03-01"}, "had not been started"),
        ({"daily_dose_mg": "30", "on": "2999-03-01"}, "in the future"),
    ):
        assert words in page.post(address, sent).content.decode()
    sent = {"daily_dose_mg": "30", "on": "2026-03-05", "reason": "taper"}
    assert page.post(address, sent).url == chart(patient)
    text = page.get(url("record", patient)).content.decode()
    assert "40\N{NO-BREAK SPACE}mg until 05-Mar-2026" in text
    correct = url("drug-correct", patient, row.pk)
    kept = typed(page, correct) | {"daily_dose_before_mg": "45", "reason": "misread"}
    kept.pop("planned")
    kept.pop("unlisted")
    assert page.post(correct, kept).url == chart(patient)
    row.refresh_from_db()
    assert (row.daily_dose_mg, row.daily_dose_before_mg) == (30, 45)


def test_the_record_shows_what_the_protocol_asks_for(page: Client, patient: Patient) -> None:
    address = url("edit", patient)
    seen = page.get(address).context["form"]["seen"].value()
    sent = {name: REGISTRATION[name] for name in REGISTRATION if name in typed(page, address)}
    sent |= {"mrn": patient.mrn, "reason": "as told", "seen": seen, "contraception": "no"}
    for score, words in (("4", "Give 5 or more"), ("16", "Give 15 or less"), ("7.5", "whole")):
        assert words in page.post(address, sent | {"child_pugh": score}).content.decode()
    assert page.post(address, sent | {"child_pugh": "10"}).url == chart(patient)
    patient.refresh_from_db()
    assert (patient.contraception, patient.child_pugh) == (False, 10)
    told = dict(page.get(url("record", patient)).context["circumstances"])
    assert told["Contraception in place"] == "No"
    assert told["Child-Pugh score"] == 10
    assert told["Pregnancy"] == "Not known"


def test_units_that_print_alike_are_one_choice_and_the_recorded_spelling_stays(
    page: Client, patient: Patient
) -> None:
    form = page.get(url("results", patient)).context["form"]
    assert ("10*3/uL", "×10³/µL") in form.fields["unit_platelets"].widget.choices
    assert ("10^3/uL", "×10³/µL") not in form.fields["unit_platelets"].widget.choices
    assert form.fields["unit_platelets"].label == "Unit of Platelets"
    row = recorded(patient, "magnesium", "1.7", "meq/L", NOW)
    correcting = page.get(url("correct-result", patient, row.pk)).context["form"]
    assert correcting.fields["unit"].widget.choices[0] == ("meq/L", "mEq/L")


def test_a_drug_outside_the_vocabulary_is_asked_once_and_said_to_be_unchecked(
    page: Client, patient: Patient
) -> None:
    address = url("drug-add", patient)
    asked = page.post(address, {"drug": "voriconazol"})
    assert "Did you mean voriconazole" in asked.content.decode()
    assert not CoMedication.objects.exists()
    told = page.post(address, {"drug": "voriconazol", "unlisted": "on"}, follow=True)
    assert "not checked for interactions" in told.content.decode()
    assert CoMedication.objects.get().unlisted_name == "voriconazol"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"drug": ""}, "Enter the name of the drug."),
        ({"daily_dose_mg": "1,5"}, "with a point"),
        ({"daily_dose_mg": "0"}, "more than 0 mg"),
        ({"started_on": "2999-01-01"}, "in the future"),
        ({"started_on": "1950-01-01"}, "before the patient was born"),
        ({"started_on": "27.02.2026"}, "Write the day as"),
    ],
)
def test_a_drug_refused_writes_nothing_and_stays_typed(
    wrong: dict, words: str, page: Client, patient: Patient
) -> None:
    sent = {"drug": "fluconazole", "route": "ORAL"} | wrong
    answer = page.post(url("drug-add", patient), sent)
    assert words in answer.content.decode()
    assert f'value="{sent["drug"]}"' in answer.content.decode() or not sent["drug"]
    assert not CoMedication.objects.exists()


def test_events_are_recorded_ended_and_withdrawn(page: Client, patient: Patient) -> None:
    address = url("event-add", patient)
    assert b"Enter the day on which it began." in page.post(address, {"kind": "TREMOR"}).content
    assert page.post(address, {"kind": "TREMOR", "started_on": DAY, "grade": "2"}).url == chart(
        patient
    )
    row = ClinicalEvent.objects.get(patient=patient)
    address = url("event-resolve", patient, row.pk)
    assert b"before it began" in page.post(address, {"resolved_on": "2026-02-01"}).content
    assert page.post(address, {"resolved_on": "2026-03-01"}).url == chart(patient)
    assert b"Record that it is over" not in page.get(address).content
    assert page.post(address, {"withdraw": "1", "reason": "another patient"}).url == chart(patient)
    assert page.get(address).status_code == 404


def test_a_serious_infection_asks_how_its_end_was_documented(
    page: Client, patient: Patient
) -> None:
    sent = {"kind": "INFECTION", "started_on": DAY}
    page.post(url("event-add", patient), sent)
    row = ClinicalEvent.objects.get(patient=patient)
    address = url("event-resolve", patient, row.pk)
    assert "Infection controlled: how it was documented" in page.get(address).content.decode()
    bare = page.post(address, {"resolved_on": "2026-03-01"})
    assert list(bare.context["form"].errors) == ["resolution"]
    sent = {"resolved_on": "2026-03-01", "resolution": "Cultures negative"}
    assert page.post(address, sent).url == chart(patient)
    assert "Over: Cultures negative" in page.get(url("record", patient)).content.decode()


@pytest.mark.parametrize(
    "kind",
    [
        "TORSADES_DE_POINTES",
        "HERPES_ZOSTER",
        "CMV_DISEASE",
        "LATENT_TUBERCULOSIS",
        "HEPATITIS_B_CORE_ANTIBODY",
    ],
)
def test_the_protocols_further_events_are_offered(
    kind: str, page: Client, patient: Patient
) -> None:
    sent = {"kind": kind, "started_on": DAY}
    assert page.post(url("event-add", patient), sent).url == chart(patient)
    assert ClinicalEvent.objects.get(patient=patient).kind == kind


def test_vaccines_are_planned_given_and_called_off(page: Client, patient: Patient) -> None:
    address = url("immunisation-add", patient)
    assert (
        b"Choose a vaccine of the list"
        in page.post(address, {"vaccine": "the usual", "given_on": DAY}).content
    )
    planned = (timezone.now() + timedelta(days=9)).date().isoformat()
    assert page.post(address, {"vaccine": "J07BL01", "planned_on": planned}).url == chart(patient)
    row = Immunisation.objects.get(patient=patient)
    give = url("immunisation-give", patient, row.pk)
    assert b"in the future" in page.post(give, {"given_on": "2999-01-01"}).content
    assert page.post(give, {"given_on": DAY}).url == chart(patient)
    assert page.post(give, {"withdraw": "1", "reason": "not given"}).url == chart(patient)
    row.refresh_from_db()
    assert row.withdrawn


def test_rows_of_another_clinic_are_not_there(
    page: Client, stranger: Patient, patient: Patient
) -> None:
    drug = takes(stranger, "fluconazole")
    result = recorded(stranger, "potassium", "4.2", "mmol/L", NOW)
    for whose in (stranger, patient):
        for name, row in (("drug-stop", drug), ("drug-correct", drug), ("correct-result", result)):
            assert page.get(url(name, whose, row.pk)).status_code == 404
            assert page.post(url(name, whose, row.pk), {"reason": "x"}).status_code == 404


def test_the_record_costs_the_same_for_any_number_of_rows(page: Client, patient: Patient) -> None:
    counts = []
    for start, more in ((0, 1), (1, 9)):
        for number in range(start, start + more):
            recorded(patient, "potassium", "4.2", "mmol/L", NOW - timedelta(days=number))
            takes(patient, f"tea {number}")
        with CaptureQueriesContext(connection) as seen:
            assert page.get(url("record", patient)).status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_record_says_what_is_unchecked(page: Client, patient: Patient) -> None:
    takes(patient, "<script>alert(1)</script>")
    text = page.get(url("record", patient)).content.decode()
    assert "Not checked" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
