"""`manage.py demo`: the fictional clinics, once, and never beside somebody else's data."""

import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from dosing.models import (
    Assessment,
    CompanionOrder,
    DoseOrder,
    Regimen,
    RegimenStatus,
    SignedOrder,
)
from dosing.services import advise, replay
from monitoring.models import MonitoringTask, SweepRun, TaskStatus
from monitoring.selectors import worklist
from patients.models import Patient
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import a_clinic

LOGINS = {
    "prescriber": Role.PRESCRIBER,
    "pharmacist": Role.PHARMACIST,
    "nurse": Role.NURSE,
    "rule-editor": Role.RULE_EDITOR,
    "rule-approver": Role.RULE_APPROVER,
    "auditor": Role.AUDITOR,
    "admin": Role.ADMINISTRATOR,
    "prescriber2": Role.PRESCRIBER,
}


@pytest.fixture
def demo(
    db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The settings in which `manage.py up --demo` runs the command."""
    settings.DEMO = True
    settings.DEBUG = False
    settings.VAR_DIR = tmp_path / "var"
    monkeypatch.setenv("DEMO_PASSWORD", "Dawn-chorus-42")
    return monkeypatch


def rows() -> list[int]:
    models = (User, Patient, DoseOrder, Assessment, MonitoringTask, SweepRun, LedgerEntry)
    return [model.objects.count() for model in models]


def test_the_demo_is_a_working_clinic_and_a_second_run_changes_nothing(
    demo: pytest.MonkeyPatch, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("demo")
    printed = capsys.readouterr().out
    first, second = Clinic.objects.order_by("pk")
    assert "(fictional)" in first.name
    for username, role in LOGINS.items():
        user = User.objects.get(username=username)
        membership = user.memberships.get()
        assert membership.role == role
        assert membership.clinic == (second if username == "prescriber2" else first)
        assert user.check_password("Dawn-chorus-42")
        assert username in printed
    assert "Password: Dawn-chorus-42" in printed
    kept = settings.VAR_DIR / "demo-password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    # One patient for each thing there is to do, and walls between the clinics.
    now = timezone.now()
    said = {
        patient.family_name: advise(patient, at=now)[1]
        for patient in Patient.objects.filter(clinic=first)
    }
    codes = {name: {finding.code for finding in advice.findings} for name, advice in said.items()}
    assert 12 <= len(said) <= 20
    assert Patient.objects.filter(clinic=second).count() >= 3
    waiting = said["Brandt"].proposal
    assert waiting is not None
    assert waiting.arithmetic.startswith("6.0 mg/day × 7.5/12.4")
    assert "SAMPLE-NOT-TROUGH" in codes["Adeyemi"]
    assert "BASE-POTASSIUM" in codes["Haddad"]
    assert not any(code.startswith("BASE-") for code in codes["Kowalska"])
    assert said["Whitfield"].outcome == "OUTSIDE_PROTOCOL"
    assert Regimen.objects.get(patient__family_name="Ferreira").status == RegimenStatus.HELD
    assert said["Okafor"].proposal is None
    # The whole protocol: each with what the chart is to show of it.
    for name, code in {
        "Vogel": "KIDNEY-TARGET-R2",
        "Chen": "POTASSIUM-DRUG-HIGH",
        "Haraldsen": "RECHECK-STEROID-CHANGED",
        "Lindqvist": "LIVE-VACCINE-PLANNED",
        "Moreau": "PREGNANCY-HARM",
        "Petrov": "QT-PROLONGED",
        "Sandoval": "OUTCOME-RESPONSE",
    }.items():
        assert code in codes[name], f"{name}: {sorted(codes[name])}"
    tapered = CompanionOrder.objects.filter(patient__family_name="Haraldsen").order_by("since")
    assert [(order.regimen_code, int(order.dose)) for order in tapered] == [
        ("A2", 50), ("A2", 40), ("A2", 30),
    ]  # fmt: skip
    due = worklist(first, today=timezone.localdate(timezone=first.zone))
    assert due.counts.overdue >= 1
    assert "Novák" in {visit.patient.family_name for visit in due.visits}
    assert MonitoringTask.objects.filter(status=TaskStatus.DONE).count() > 20

    # What the chart tells is evidence: signed, chained and reproducible.
    long_course = DoseOrder.objects.filter(regimen__patient__family_name="Okafor")
    assert [str(order.total_daily_mg) for order in long_course.order_by("since")] == [
        "2.00", "3.00", "3.50", "4.00", "1.00", "3.50", "4.00", "3.00",
    ]  # fmt: skip
    assert SignedOrder.objects.filter(order__in=long_course).count() == long_course.count()
    assert all(order.since <= now for order in DoseOrder.objects.all())
    assert all(replay(assessment).same for assessment in Assessment.objects.all())
    call_command("verify_audit")

    before = rows()
    demo.delenv("DEMO_PASSWORD")
    capsys.readouterr()
    call_command("demo")
    assert rows() == before
    assert "Password: Dawn-chorus-42" in capsys.readouterr().out

    settings.DEMO = False
    with pytest.raises(CommandError, match="not started as a demonstration"):
        call_command("demo")


def test_a_database_with_somebody_elses_data_is_refused(demo: pytest.MonkeyPatch) -> None:
    a_clinic("A real clinic")
    before = rows()
    with pytest.raises(CommandError, match="not empty"):
        call_command("demo")
    assert rows() == before
    assert Clinic.objects.count() == 1


def test_a_weak_password_is_refused_and_nothing_is_written(demo: pytest.MonkeyPatch) -> None:
    demo.setenv("DEMO_PASSWORD", "password")
    with pytest.raises(CommandError, match="too short"):
        call_command("demo")
    assert not Clinic.objects.exists()
