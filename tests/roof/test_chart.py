"""The chart: what the protocol says of a patient now, and never "nothing" when it could not ask."""

import html
import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dosing.models import Assessment, DoseOrder, Intent, Regimen
from dosing.rules.engine.facts import TACROLIMUS_LEVEL
from dosing.rules.models import RuleBook, RuleBookStatus
from dosing.services import assess_patient
from monitoring.models import MonitoringTask
from patients.models import Analyte, Observation, Patient
from patients.services import record_event
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.templatetags.quantities import clinical_date
from tests.factories import a_clinic, a_patient, a_signature, by_system, recorded, takes
from tests.roof.conftest import (
    ago,
    dose,
    hold,
    on_tacrolimus,
    reviewed,
    serum_tested,
    trough,
)

Browse = Callable[..., Client]


def chart(client: Client, patient: Patient, query: str = "") -> str:
    """The words of the chart, without markup."""
    return words(client.get(f"/patients/{patient.public_id}/{query}"))


def words(response: HttpResponse) -> str:
    """The words of a page, without markup."""
    assert response.status_code == 200
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(html.unescape(text).replace("\N{NO-BREAK SPACE}", " ").split())


def test_an_azole_started_asks_for_one_third_with_its_sum_and_source(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic)
    takes(patient, "voriconazole", ago(0).date(), at=timezone.now())
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "Change to 1 mg/day 0.5 mg in the morning, 0.5 mg in the evening" in page
    assert "3.0 mg/day × 1/3 = 1.0 mg/day" in page
    assert "S40" in page
    assert "Review dose" in page
    assert "Raises the level: strong inhibitor (azole)" in page
    assert "Nothing critical" not in page


def test_no_change_is_said_only_where_nothing_asks_for_a_decision(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=20)
    trough(patient, "7.0", days=3)
    client = browse(Role.PRESCRIBER)
    page = chart(client, patient)
    assert "No number is proposed: 2 findings below ask for your decision." in page
    assert "No change of dose is proposed" not in page
    serum_tested(patient)
    assert "No change of dose is proposed." in chart(client, patient)
    record_event(
        patient=patient,
        kind="MYOCARDIAL_HYPERTROPHY",
        started_on=ago(1).date(),
        at=ago(1),
        by=by_system(clinic),
    )
    page = chart(client, patient)
    assert "reduce tacrolimus or stop it. The protocol gives no number" in page
    assert "No number is proposed: 1 finding below asks for a decision on the dose." in page
    assert "No change of dose is proposed" not in page
    order = dose(patient, "2", at=timezone.now())
    assert "No change of dose is proposed." in chart(client, patient)
    url = f"/patients/{patient.public_id}/assessments/{order.assessment.public_id}/"
    page = words(client.get(url))
    assert "No number is proposed: 1 finding below asks for your decision." in page
    assert "No change of the dose is proposed" not in page


def test_of_several_findings_it_is_said_how_many_ask_about_the_dose(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=20)
    trough(patient, "7.0", days=3)
    record_event(
        patient=patient,
        kind="MYOCARDIAL_HYPERTROPHY",
        started_on=ago(1).date(),
        at=ago(1),
        by=by_system(clinic),
    )
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "3 findings below ask for your decision, 1 of them on the dose." in page


def test_a_level_that_changes_no_dose_asks_for_no_decision_on_it(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=20)
    serum_tested(patient)
    trough(patient, "12.0", days=3)
    dose(patient, "2", at=ago(1))
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "It changes no dose" in page
    assert "No change of dose is proposed." in page


def test_a_lesser_finding_that_asks_for_less_is_no_agreement_with_the_dose(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=20)
    serum_tested(patient)
    trough(patient, "7.0", days=3)
    recorded(patient, "creatinine", "1.3", "mg/dL", ago(0))
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "Renal dysfunction, stage R1" in page
    at = timezone.now()
    made = assess_patient(patient=patient, intent=Intent.REVIEW, at=at, by=a_signature(clinic))
    url = f"/patients/{patient.public_id}/assessments/{made.public_id}/"
    seen = words(browse(Role.PRESCRIBER).get(url))
    assert re.search(r"No number is proposed: \d+ findings below ask to be acknowledged\.", seen)
    assert "No number is proposed: 1 finding below asks for a decision on the dose." in page
    assert "No change of dose is proposed" not in page


def test_an_order_departs_from_a_proposal_only_where_there_was_one(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=20)
    serum_tested(patient)
    free = dose(patient, "2.5", at=ago(15))
    trough(patient, "12.0", days=3)
    other = dose(patient, "2", at=ago(1))
    client = browse(Role.PRESCRIBER)

    def why(order: DoseOrder) -> str:
        return words(client.get(f"/patients/{patient.public_id}/orders/{order.public_id}/"))

    # Of the three orders the first and the last had a proposal, and departed from it.
    assert chart(client, patient).count("Other than proposed") == 2
    assert "Decision Nothing was proposed" in why(free)
    assert "Other than proposed" not in why(free)
    assert "Decision Other than proposed" in why(other)


def test_a_result_is_printed_so_that_it_reads_on_its_side_of_the_range(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic)
    Analyte._base_manager.filter(key="creatinine").update(reference_low=Decimal("0.7"))
    recorded(patient, "creatinine", "61.8", "umol/L", ago(1))
    recorded(patient, "potassium", "3.4999", "mmol/L", ago(1))
    page = chart(browse(Role.NURSE), patient)
    assert "low 61.8 µmol/L 0.699 mg/dL 0.7 to 1.2 mg/dL" in page
    assert "low 3.4999 mmol/L 3.5 to 5.0" in page


@pytest.mark.parametrize(
    ("value", "hours", "said"),
    [
        ("12.0", "12", "above target 12.0 ng/mL target 5 to 10"),
        ("8.0", "12", "Tacrolimus level 8.0 ng/mL target 5 to 10"),
        ("4.9", "12", "below target 4.9 ng/mL target 5 to 10"),
        ("12.0", "4", "12.0 ng/mL target 5 to 10 timing in doubt, 4 h after the dose"),
    ],
)
def test_the_level_stands_with_its_target_among_the_results(
    clinic: Clinic, browse: Browse, value: str, hours: str, said: str
) -> None:
    patient = on_tacrolimus(clinic)
    trough(patient, value, days=5, hours=hours)
    assert said in chart(browse(Role.NURSE), patient)


def test_the_own_target_of_the_patient_stands_among_the_results(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic)
    Regimen._base_manager.filter(patient=patient).update(
        target_low_ng_per_ml=Decimal(4),
        target_high_ng_per_ml=Decimal(6),
        target_reason="Renal dysfunction.",
    )
    trough(patient, "7.0", days=5)
    assert "above target 7.0 ng/mL target 4 to 6" in chart(browse(Role.NURSE), patient)


def test_a_drug_without_an_interaction_rule_is_said_to_have_none(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic)
    takes(patient, "lisinopril", ago(3).date(), at=ago(2))
    takes(patient, "azathioprine", ago(3).date(), at=ago(2))
    page = chart(browse(Role.PRESCRIBER), patient)
    assert re.search(r"Azathioprine Not known No interaction rule in force (?!;)", page)
    assert "No interaction rule in force; other rules name it" in page
    assert "None in the rule book" not in page
    assert "Stop lisinopril" in page
    assert "Stop tacrolimus" in page


def test_a_button_says_for_the_eye_what_it_ends(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    takes(patient, "lisinopril", ago(3).date(), at=ago(2))
    response = browse(Role.PRESCRIBER).get(f"/patients/{patient.public_id}/")
    seen = re.sub(r'<span class="sr-only">[^<]*</span>', "", response.content.decode())
    assert re.search(r">Stop lisinopril</a>", seen)
    assert not re.search(r">\s*Stop\s*</a>", seen)


def test_looking_writes_nothing(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    before = Assessment.objects.count()
    chart(browse(Role.PRESCRIBER), patient)
    assert Assessment.objects.count() == before


def test_before_the_start_the_gaps_of_the_baseline_are_listed(
    clinic: Clinic, browse: Browse
) -> None:
    patient = a_patient(clinic, at=ago(1))
    recorded(patient, "potassium", "4.2", "mmol/L", ago(1))
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "Before the first dose" in page
    assert "creatinine is not recorded" in page.lower()
    assert "potassium is not recorded" not in page.lower()
    assert "Start tacrolimus" in page
    assert "not on tacrolimus, never ordered" in page


def test_the_tiles_say_level_dose_time_in_target_and_next_trough(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=40)
    page = chart(browse(Role.NURSE), patient)
    assert "needs exact troughs of two days" in page
    assert "1.5 mg + 1.5 mg, 0.049 mg/kg/day" in page
    assert "overdue" in page
    trough(patient, "7.0", days=20)
    trough(patient, "8.0", days=10)
    page = chart(browse(Role.NURSE), patient)
    assert "8.0 ng/mL in target" in page
    assert "100 % of 10 days between exact troughs, 5 to 10 ng/mL" in page


@pytest.mark.parametrize(
    ("value", "hours", "words"),
    [
        ("8.0", "12", "8.0 ng/mL in target"),
        ("4.9", "12", "4.9 ng/mL below target"),
        ("10.1", "12", "10.1 ng/mL above target"),
        ("8.0", "4", "8.0 ng/mL timing in doubt, 4 h after the dose"),
        ("8.0", None, "8.0 ng/mL timing in doubt, hours since the dose not known"),
        ("<2.0", "12", "<2.0 ng/mL below target"),
        (">30", "12", ">30 ng/mL above target"),
    ],
)
def test_a_level_is_placed_by_its_hours_and_the_target(
    clinic: Clinic, browse: Browse, value: str, hours: str | None, words: str
) -> None:
    patient = on_tacrolimus(clinic)
    trough(patient, value, days=5, hours=hours)
    assert words in chart(browse(Role.NURSE), patient)


def test_a_check_without_a_rule_book_has_failed_and_says_so(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    trough(patient, "8.0", days=5)
    RuleBook._base_manager.filter(status=RuleBookStatus.PUBLISHED).update(
        status=RuleBookStatus.RETIRED
    )
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "The check FAILED" in page
    assert "No rule book is published" in page
    assert "The timeline cannot be drawn" in page
    assert "8.0 ng/mL" in page
    assert "Nothing critical" not in page
    assert "No change of dose is proposed" not in page


def test_facts_that_the_engine_cannot_take_are_a_failed_check(
    clinic: Clinic, browse: Browse, caplog: pytest.LogCaptureFixture
) -> None:
    patient = on_tacrolimus(clinic)
    trough(patient, "8.0", days=5)
    Observation._base_manager.filter(patient=patient, analyte__key="tacrolimus-trough").update(
        hours_since_dose=-1
    )
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "The check FAILED" in page
    assert "Nothing critical" not in page
    assert str(patient.public_id) in caplog.text
    assert "Okafor" not in caplog.text


def test_a_drug_outside_the_vocabulary_is_said_to_be_unchecked(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic)
    takes(patient, "Grandmother’s tea", ago(3).date(), at=ago(2))
    takes(patient, "ketoconazole", ago(3).date(), at=ago(2), route="TOPICAL")
    page = chart(browse(Role.NURSE), patient)
    assert "Not checked: outside the vocabulary" in page
    assert "None by this route (topical)" in page


def test_what_the_signer_answered_does_not_ask_again(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    takes(patient, "sirolimus", ago(2).date(), at=ago(2))
    client = browse(Role.PRESCRIBER)
    assert "Answered when the dose was signed" not in chart(client, patient)
    dose(patient, "2", at=ago(1))
    page = chart(client, patient)
    assert "Answered when the dose was signed (1)" in page
    assert "Will monitor more closely" in page


def test_a_hold_shows_since_when_and_offers_to_resume(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    hold(patient, at=ago(2))
    page = chart(browse(Role.PRESCRIBER), patient)
    assert "Held" in page
    assert "was 3 mg/day" in page
    assert "Review and resume" in page


def test_events_vaccines_orders_and_tasks_stand_on_the_chart(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=9)
    record_event(
        patient=patient,
        kind="TREMOR",
        grade=1,
        started_on=ago(3).date(),
        at=ago(2),
        by=by_system(clinic),
    )
    reviewed(patient)
    page = chart(browse(Role.NURSE), patient)
    assert "Tremor, grade 1" in page
    assert "Start of therapy: Agreed in the clinic." in page
    assert "2 days overdue" in page


def test_the_timeline_may_be_cut_to_the_last_months(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic, days=200)
    trough(patient, "7.7", days=150)
    trough(patient, "8.8", days=20)
    client = browse(Role.NURSE)
    assert "2 troughs" in chart(client, patient)
    assert "1 trough;" in chart(client, patient, "?span=90")
    assert "2 troughs" in chart(client, patient, "?span=nonsense")


def test_who_may_not_record_or_order_is_offered_neither(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    nurse = chart(browse(Role.NURSE), patient)
    assert "Enter results" in nurse
    assert "Review dose" not in nurse
    assert "Store an assessment" in nurse


def test_a_patient_of_another_clinic_is_not_there(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    stranger = browse(Role.PRESCRIBER, at=a_clinic())
    response = stranger.get(f"/patients/{patient.public_id}/")
    assert response.status_code == 404
    assert "Amara" not in response.content.decode()
    assert stranger.get("/patients/00000000-0000-4000-8000-000000000000/").status_code == 404


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.RULE_EDITOR, Role.ADMINISTRATOR])
def test_a_role_that_reads_no_patients_is_refused(
    clinic: Clinic, browse: Browse, role: Role
) -> None:
    patient = on_tacrolimus(clinic)
    assert browse(role).get(f"/patients/{patient.public_id}/").status_code == 403


def test_the_chart_takes_at_most_twenty_queries_whatever_the_observations(
    clinic: Clinic, browse: Browse
) -> None:
    client = browse(Role.PRESCRIBER)
    patient = on_tacrolimus(clinic, days=90)
    counts = []
    for observations in (10, 190):
        for number in range(observations):
            at = ago(80 - number % 79)
            recorded(patient, "tacrolimus-trough", f"{5 + number / 50:.2f}", "ng/mL", at)
        takes(patient, "voriconazole", ago(observations).date(), until=ago(1).date(), at=ago(1))
        with CaptureQueriesContext(connection) as queries:
            chart(client, patient)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 20


def test_the_next_trough_is_the_same_in_tile_and_tasks(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic, days=40)
    trough(patient, "7.0", days=20)
    takes(patient, "fluconazole", ago(2).date(), at=timezone.now())
    reviewed(patient)
    tasks = MonitoringTask.objects.filter(patient=patient, analyte__key=TACROLIMUS_LEVEL)
    first = min(task.due_on for task in tasks)
    page = chart(browse(Role.NURSE), patient)
    assert f"Next trough due {clinical_date(first)}" in page
    assert f"due {clinical_date(first)}" in page


def test_a_trough_is_overdue_only_when_its_window_has_passed(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=40)
    reviewed(patient)
    task = MonitoringTask.objects.get(patient=patient, analyte__key=TACROLIMUS_LEVEL)
    late = (timezone.localdate() - task.latest_on).days
    page = chart(browse(Role.NURSE), patient)
    assert late > 0
    assert page.count(f"{late} days overdue") >= 2
