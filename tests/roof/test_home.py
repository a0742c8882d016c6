"""The first page: what waits for a person at this clinic, and nothing of another."""

import html
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dosing.rules.services import draft_book, submit_for_review
from monitoring.models import Review, SweepRun
from patients.services import record_event
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.accounts.services import grant_role
from tacroweb.home import waiting_for_a_decision
from tests.factories import a_clinic, a_patient, a_person, by_system, for_all, takes
from tests.roof.conftest import ago, dose, hold, on_tacrolimus, reviewed, serum_tested, trough

Browse = Callable[..., Client]


def text_of(client: Client, path: str = "/") -> str:
    response = client.get(path)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_an_empty_clinic_says_that_nothing_waits(browse: Browse) -> None:
    page = text_of(browse(Role.NURSE))
    assert "No dose decision is waiting" in page
    assert "No test is overdue or due within 7 days" in page
    assert "Nobody’s tacrolimus is held" in page


def test_an_overdue_test_of_this_clinic_is_listed_and_another_clinics_is_not(
    clinic: Clinic, browse: Browse
) -> None:
    here = reviewed(on_tacrolimus(clinic, days=9, family_name="Mbeki"), at=ago(8))
    there = reviewed(on_tacrolimus(a_clinic(), days=9, family_name="Quist"), at=ago(8))
    page = text_of(browse(Role.NURSE))
    assert "MBEKI, Amara" in page
    assert f"/patients/{here.public_id}/" in page
    assert "2 days overdue" in page
    assert "QUIST" not in page
    assert str(there.public_id) not in page


def test_a_level_outside_the_target_waits_for_a_decision_until_the_dose_is_ordered(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic, days=60)
    trough(patient, "14.0", days=1)
    reviewed(patient)
    client = browse(Role.PRESCRIBER)
    page = text_of(client)
    assert "Change to 1.5 mg/day" in page
    assert "is above the target" in page
    dose(patient, "1.5", at=timezone.now())
    reviewed(patient)
    page = text_of(client)
    assert "Change to 1.5 mg/day" not in page


def test_a_critical_finding_waits_until_an_order_is_signed_over_it(
    clinic: Clinic, browse: Browse
) -> None:
    patient = on_tacrolimus(clinic)
    takes(patient, "sirolimus", ago(2).date(), at=ago(1))
    reviewed(patient)
    client = browse(Role.PHARMACIST)
    assert "irolimus" in text_of(client)
    dose(patient, "2", at=timezone.now())
    reviewed(patient)
    assert "irolimus" not in text_of(client)


def test_no_number_of_answered_findings_hides_a_patient_who_waits(clinic: Clinic) -> None:
    waits = on_tacrolimus(clinic)
    takes(waits, "sirolimus", ago(3).date(), at=ago(3))
    reviewed(waits, at=ago(2))
    for _ in range(4):
        answered = on_tacrolimus(clinic)
        takes(answered, "sirolimus", ago(3).date(), at=ago(3))
        serum_tested(answered, days=2)
        dose(answered, "2", at=ago(1))
        reviewed(answered)
    assert [row.patient for row in waiting_for_a_decision(clinic, limit=1)] == [waits]


def test_a_patient_without_tacrolimus_waits_for_nothing(clinic: Clinic, browse: Browse) -> None:
    reviewed(a_patient(clinic, at=ago(3)))
    assert "No dose decision is waiting" in text_of(browse(Role.NURSE))


def test_held_tacrolimus_is_listed_with_the_reason(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic, family_name="Mbeki")
    hold(patient, at=ago(3))
    page = text_of(browse(Role.NURSE))
    assert "Infection: Pneumonia." in page
    assert "3 days ago" in page


def test_a_sweep_that_never_ran_is_as_visible_as_one_that_failed(
    clinic: Clinic, browse: Browse
) -> None:
    client = browse(Role.NURSE)
    assert "The nightly sweep has never run" in text_of(client)
    now = timezone.now()
    run = SweepRun.objects.create(started_at=now - timedelta(days=2))
    assert "has not finished" in text_of(client)
    run.finished_at = now - timedelta(hours=40)
    run.save()
    assert "The nightly sweep is late" in text_of(client)
    SweepRun.objects.create(started_at=now, finished_at=now, patients=2, failures="one\n")
    page = text_of(client)
    assert "The nightly sweep is late" not in page
    assert "Ran with failures" in page
    SweepRun.objects.create(started_at=now + timedelta(seconds=1), finished_at=now, patients=2)
    assert "Ran with failures" not in text_of(client)


def test_a_patient_whose_review_failed_is_named(clinic: Clinic, browse: Browse) -> None:
    patient = reviewed(on_tacrolimus(clinic, family_name="Mbeki"))
    review = Review.objects.get(patient=patient)
    review.failure = "No rule book is published."
    review.save()
    page = text_of(browse(Role.NURSE))
    assert "Some patients could not be reviewed" in page
    assert "No rule book is published." in page


@pytest.mark.parametrize(
    ("role", "shown", "not_shown"),
    [
        (Role.AUDITOR, ["Open the audit", "Read the rule book"], ["Open the tables"]),
        (Role.RULE_EDITOR, ["Read the rule book"], ["Open the audit"]),
        (Role.RULE_APPROVER, ["Read the rule book"], ["Open the audit"]),
        (Role.ADMINISTRATOR, ["Open the audit", "Read the rule book"], []),
    ],
)
def test_a_role_without_patients_sees_what_is_its_own(
    clinic: Clinic, browse: Browse, role: Role, shown: list[str], not_shown: list[str]
) -> None:
    on_tacrolimus(clinic, family_name="Mbeki")
    page = text_of(browse(role))
    assert "MBEKI" not in page
    for words in shown:
        assert words in page
    for words in not_shown:
        assert words not in page


def test_who_keeps_the_rules_sees_how_far_a_change_has_come(clinic: Clinic, browse: Browse) -> None:
    editor, approver = browse(Role.RULE_EDITOR), browse(Role.RULE_APPROVER)
    page = text_of(editor)
    assert "2026-02 is in force" in page
    assert "No change is under way" in page
    assert "Change the rules" in page
    assert "Change the rules" not in text_of(approver)
    by = for_all(a_person(clinic, Role.RULE_EDITOR))
    book = draft_book(at=timezone.now(), by=by)
    assert "is being edited" in text_of(approver)
    submit_for_review(book=book, at=timezone.now(), by=by)
    for client in (editor, approver, browse(Role.AUDITOR)):
        page = text_of(client)
        assert "waits for a rule approver who did not edit it" in page
        assert f"See what {book.version} changes" in page
        assert 'href="/rules/change/"' in page


def test_an_installation_without_rules_says_what_to_do(browse: Browse) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rules_rulebook SET status = 'RETIRED'")
    assert "manage.py seed_rules" in text_of(browse(Role.RULE_EDITOR))


def test_the_tables_are_offered_to_those_who_may_open_them(browse: Browse) -> None:
    assert "Open the tables" in text_of(browse(Role.ADMINISTRATOR, is_staff=True))


def test_a_person_without_a_role_is_told_so(clinic: Clinic) -> None:
    client = Client()
    client.force_login(a_person(clinic))
    assert "You hold no role at any clinic today" in text_of(client)


def test_a_person_of_two_clinics_changes_between_them_and_to_no_other(clinic: Clinic) -> None:
    other, third = a_clinic(), a_clinic()
    on_tacrolimus(clinic, family_name="Mbeki")
    user: User = a_person(clinic, Role.NURSE)
    grant_role(
        user=user, clinic=other, role=Role.NURSE, from_on=date(2020, 1, 1), by=by_system(other)
    )
    client = Client()
    client.force_login(user)
    first = {clinic.pk, other.pk}
    for wanted in (other, clinic):
        assert client.post("/switch-clinic/", {"clinic": wanted.pk}).status_code == 302
        assert client.get("/").context["access"].clinic == wanted
    for wanted in (third.pk, "x", ""):
        client.post("/switch-clinic/", {"clinic": wanted})
        assert client.get("/").context["access"].clinic.pk in first
    assert client.get("/switch-clinic/").status_code == 405


def test_home_takes_at_most_twelve_queries_whatever_the_rows(
    clinic: Clinic, browse: Browse
) -> None:
    client = browse(Role.PRESCRIBER)
    counts = []
    for patients in (1, 6):
        for _ in range(patients):
            patient = on_tacrolimus(clinic, days=9)
            trough(patient, "14.0", days=1)
            reviewed(patient)
            hold(on_tacrolimus(clinic, days=9), at=ago(1))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            text_of(client)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 12


def test_nobody_sees_home_without_signing_in(db: Any) -> None:
    response = Client().get("/")
    assert response.status_code == 302
    assert response["Location"].startswith("/sign-in/")


def test_a_hold_that_stands_waits_for_nothing(clinic: Clinic, browse: Browse) -> None:
    patient = on_tacrolimus(clinic)
    record_event(
        patient=patient,
        kind="INFECTION",
        grade=3,
        started_on=ago(2).date(),
        at=ago(2),
        by=by_system(clinic),
    )
    serum_tested(patient)
    reviewed(patient)
    client = browse(Role.PRESCRIBER)
    assert "Hold tacrolimus" in text_of(client)
    hold(patient, at=ago(1))
    reviewed(patient)
    assert "No dose decision is waiting" in text_of(client)


def test_a_form_without_its_token_is_refused_in_plain_words(clinic: Clinic) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(a_person(clinic, Role.NURSE))
    response = client.post("/switch-clinic/", {"clinic": clinic.pk})
    assert response.status_code == 403
    page = response.content.decode()
    assert "This form is too old" in page
    assert "<style" not in page
