"""A stored assessment gives the same bytes again, or says where it does not and why."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.backends.utils import CursorWrapper

from dosing.models import Assessment, Intent, Regimen
from dosing.rules.engine.assess import ENGINE_VERSION
from dosing.rules.loading import engine_book
from dosing.rules.models import RuleBook
from dosing.services import Cause, assess_patient, book_changed, replay
from dosing.services.replaying import _book_changed
from patients.models import Patient
from tacroweb.accounts.roles import Role
from tacroweb.audit.append_only import drop_triggers, install_triggers
from tacroweb.audit.ledger import canonical, service
from tacroweb.audit.signature import Signature
from tests.engine.test_golden import GOLDEN
from tests.factories import NOW, PASSWORD, a_newer_book, a_person, by_system

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh() -> None:
    """What this process knows of the books of another test is no longer so."""
    _book_changed.cache_clear()


@service("Assessment stored as it was")
def kept(
    patient: Patient, *, book: RuleBook, case: Any, advice: Any, engine: str, by: Signature
) -> Assessment:
    """An assessment as an earlier release stored it."""
    row = Assessment(
        patient=patient,
        rule_book=book,
        engine_version=engine,
        intent=Intent.REVIEW,
        at=NOW,
        facts_version=1,
        case_text=canonical(case),
        advice_text=canonical(advice),
    )
    row.sign(by).save()
    return row


def made(patient: Patient) -> Assessment:
    return assess_patient(
        patient=patient, intent=Intent.START, at=NOW, by=by_system(patient.clinic)
    )


def overwritten(table: str, pk: int, **columns: object) -> None:
    """Somebody with the database's own password changes a row."""
    given = ", ".join(f"{name} = %s" for name in columns)
    with open_database() as cursor:
        cursor.execute(f"UPDATE {table} SET {given} WHERE id = %s", [*columns.values(), pk])


@contextmanager
def open_database() -> Iterator[CursorWrapper]:
    """A cursor that no trigger stops."""
    connection.check_constraints()  # nothing of the test's own is pending
    drop_triggers(connection)
    with connection.cursor() as cursor:
        yield cursor
    connection.check_constraints()
    install_triggers(connection)


def test_an_assessment_replays_to_the_same_bytes_under_its_own_book(patient: Patient) -> None:
    assessment = made(patient)
    assert replay(assessment).cause is Cause.NONE
    a_newer_book()
    assert replay(Assessment.objects.get(pk=assessment.pk)).same


def test_every_answer_of_the_first_book_and_engine_replays_to_the_same_bytes(
    patient: Patient,
) -> None:
    book = RuleBook.objects.get(version="2026-01")
    for line in GOLDEN:
        if line["advice"]["rule_book"] != "2026-01":
            continue
        stored = kept(
            patient,
            book=book,
            case=line["case"],
            advice=line["advice"],
            engine="1",
            by=by_system(patient.clinic),
        )
        assert replay(stored).same, line["name"]
    out = io.StringIO()
    call_command("replay_assessments", "--book", "2026-01", stdout=out)
    assert "0 differ." in out.getvalue()


def test_another_answer_is_told_finding_by_finding(patient: Patient) -> None:
    assessment = made(patient)
    advice = assessment.advice
    first, second, *rest = advice["findings"]
    told = [first | {"severity": "INFO", "statements": ["S1", "S2"]}, *rest]
    told.append(second | {"code": "NO-SUCH-FINDING"})
    advice |= {"findings": told, "outcome": "OUTSIDE_PROTOCOL"}
    overwritten("dosing_assessment", assessment.pk, advice_text=canonical(advice))
    outcome = replay(Assessment.objects.get(pk=assessment.pk))
    assert (outcome.cause, outcome.same) == (Cause.OTHER_ANSWER, False)
    found = {each.where: (each.stored, each.now) for each in outcome.differences}
    code = first["code"]
    assert found[f"findings {code}.severity"] == ('"INFO"', f'"{first["severity"]}"')
    assert found[f"findings {code}.statements"][0] == '["S1","S2"]'
    assert found["findings NO-SUCH-FINDING"] == ("said", "not said")
    assert found[f"findings {second['code']}"] == ("not said", "said")
    assert found["outcome"][0] == '"OUTSIDE_PROTOCOL"'


def test_an_engine_of_another_version_is_the_cause(patient: Patient) -> None:
    assessment = made(patient)
    advice = assessment.advice | {"outcome": "OUTSIDE_PROTOCOL"}
    for engine, age in (("1", "an older one"), ("99", "a newer one")):
        overwritten(
            "dosing_assessment",
            assessment.pk,
            advice_text=canonical(advice),
            engine_version=engine,
        )
        outcome = replay(Assessment.objects.get(pk=assessment.pk))
        assert outcome.cause is Cause.OTHER_ENGINE
        assert f"Engine {engine}, {age}, made it; engine {ENGINE_VERSION}" in outcome.words


def test_equal_values_in_other_bytes_differ_and_are_said_so(patient: Patient) -> None:
    assessment = made(patient)
    overwritten("dosing_assessment", assessment.pk, advice_text=json.dumps(assessment.advice))
    outcome = replay(Assessment.objects.get(pk=assessment.pk))
    assert (outcome.same, outcome.differences) == (False, ())
    assert outcome.words == "The values are the same and are written otherwise."


@pytest.mark.parametrize(
    ("columns", "cause", "words"),
    [
        ({"case_text": '{"at": 1}'}, Cause.CASE_UNREADABLE, "case.at: must be a text in quotes."),
        ({"case_text": "{"}, Cause.CASE_UNREADABLE, "Expecting"),
        ({"advice_text": "{"}, Cause.ADVICE_UNREADABLE, "Expecting"),
    ],
)
def test_what_cannot_be_read_is_the_cause(
    patient: Patient, columns: dict[str, str], cause: Cause, words: str
) -> None:
    assessment = made(patient)
    overwritten("dosing_assessment", assessment.pk, **columns)
    outcome = replay(Assessment.objects.get(pk=assessment.pk))
    assert outcome.cause is cause
    assert words in outcome.words


def changed_book(version: str = "2026-02") -> RuleBook:
    """The book in force with another guard on the dose, past every service and trigger."""
    book = RuleBook.objects.get(version=version)
    with open_database() as cursor:
        cursor.execute("UPDATE rules_finding SET severity = 'STOP' WHERE book_id = %s", [book.pk])
        # The digest too, so that this process reads the book anew.
        cursor.execute("UPDATE rules_rulebook SET sha256 = 'forged' WHERE id = %s", [book.pk])
    return RuleBook.objects.get(version=version)


def test_a_book_that_is_not_what_it_was_is_the_cause(patient: Patient) -> None:
    assessment = made(patient)
    book = changed_book()
    outcome = replay(Assessment.objects.get(pk=assessment.pk))
    assert outcome.cause is Cause.BOOK_CHANGED
    assert outcome.words == "The text of rule book 2026-02 no longer gives its digest."
    assert any(each.where.endswith(".severity") for each in outcome.differences)
    overwritten("rules_rulebook", book.pk, sha256=RuleBook.objects.get(pk=book.pk).shipped_sha256)
    again = RuleBook.objects.get(pk=book.pk)
    assert book_changed(again) == "The rows of rule book 2026-02 are not those of its text."
    assert book_changed(RuleBook.objects.get(version="2026-01")) == ""


def test_a_book_whose_rows_cannot_be_read_is_the_cause(patient: Patient) -> None:
    assessment = made(patient)
    with open_database() as cursor:
        cursor.execute("UPDATE rules_finding SET severity = 'LOUD'")
        cursor.execute("UPDATE rules_rulebook SET sha256 = 'unread'")
    outcome = replay(Assessment.objects.get(pk=assessment.pk))
    assert (outcome.cause, outcome.words) == (Cause.BOOK_UNREADABLE, "LOUD is no severity.")
    with pytest.raises(ValueError, match="LOUD is no severity"):
        engine_book(RuleBook.objects.get(version="2026-02"))


# The command and the API


def test_the_command_names_each_difference_and_ends_with_1(patient: Patient) -> None:
    good, bad = made(patient), made(patient)
    advice = bad.advice | {"outcome": "OUTSIDE_PROTOCOL"}
    overwritten("dosing_assessment", bad.pk, advice_text=canonical(advice))
    out = io.StringIO()
    with pytest.raises(CommandError, match="2 assessments replayed, 1 differ") as refused:
        call_command("replay_assessments", stdout=out)
    assert refused.value.returncode == 1
    assert f"Assessment {bad.public_id} of" in out.getvalue()
    assert "The same facts and rules give another answer." in out.getvalue()
    assert '  outcome: "OUTSIDE_PROTOCOL" → ' in out.getvalue()
    assert str(good.public_id) not in out.getvalue()


def test_the_command_takes_one_patient_or_one_book(patient: Patient) -> None:
    made(patient)
    for arguments, words in (
        ((), "1 assessments"),
        (("--patient", str(patient.public_id)), "1 assessments"),
        (("--patient", "00000000-0000-4000-8000-000000000000"), "0 assessments"),
        (("--book", "2026-02"), "1 assessments"),
        (("--book", "2026-01"), "0 assessments"),
    ):
        out = io.StringIO()
        call_command("replay_assessments", *arguments, stdout=out)
        assert f"{words} replayed, 0 differ." in out.getvalue()
    with pytest.raises(CommandError, match="There is no rule book 1999-01") as refused:
        call_command("replay_assessments", "--book", "1999-01")
    assert refused.value.returncode == 2


def test_a_book_that_was_changed_is_named_even_where_no_answer_differs() -> None:
    changed_book("2026-01")
    out = io.StringIO()
    with pytest.raises(CommandError, match="0 assessments replayed, 0 differ"):
        call_command("replay_assessments", stdout=out)
    assert "The text of rule book 2026-01 no longer gives its digest." in out.getvalue()


def test_the_api_replays_an_assessment_of_the_own_clinic(
    patient: Patient, on_tacrolimus: Regimen, client: Any
) -> None:
    assessment = made(patient)
    user = a_person(patient.clinic, Role.PRESCRIBER, username="replays")
    client.login(username="replays", password=PASSWORD)
    answer = client.get(f"/api/v1/assessments/{assessment.public_id}/replay/")
    assert answer.status_code == 200
    assert answer.json() == {"same": True, "cause": "", "words": "", "differences": []}
    later = assess_patient(
        patient=patient, intent=Intent.REVIEW, at=NOW + timedelta(days=1),
        by=by_system(patient.clinic),
    )  # fmt: skip
    overwritten("dosing_assessment", later.pk, advice_text="{}")
    said = client.get(f"/api/v1/assessments/{later.public_id}/replay/").json()
    assert (said["same"], said["cause"]) == (False, "OTHER_ANSWER")
    assert {"where", "stored", "now"} == set(said["differences"][0])
    assert user.pk
