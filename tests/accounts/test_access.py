"""Who may do what, where and when; and that it ends at once."""

import io
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tacroweb.accounts.access import access_for
from tacroweb.accounts.models import ApiToken, Clinic, User
from tacroweb.accounts.roles import PERMISSIONS, SCOPE_OF, Permission, Role, Scope
from tacroweb.accounts.services import (
    add_user,
    change_password,
    deactivate_user,
    end_role,
    grant_role,
    issue_token,
    revoke_token,
)
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Channel
from tests.factories import PASSWORD, a_clinic, a_person, by_system

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def nurse(clinic: Clinic) -> User:
    return a_person(clinic, Role.NURSE, username="nurse")


def a_key(user: User, clinic: Clinic, *scopes: Scope, days: int = 1) -> tuple[ApiToken, str]:
    return issue_token(
        user=user,
        clinic=clinic,
        name="for a test",
        scopes=scopes,
        expires_at=timezone.now() + timedelta(days=days),
        by=by_system(clinic),
    )


def with_key(key: str, path: str = "/api/v1/history/") -> int:
    return Client().get(path, headers={"Authorization": f"Bearer {key}"}).status_code


def test_a_role_begins_and_ends_with_a_day_of_its_clinic(clinic: Clinic) -> None:
    user = a_person(clinic)
    membership = grant_role(
        user=user,
        clinic=clinic,
        role=Role.NURSE,
        from_on=date(2026, 11, 3),
        by=by_system(clinic),
    )
    # 23:30 UTC is half past midnight in Berlin.
    late = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    assert access_for(user, at=late - timedelta(hours=1), channel=Channel.WEB) is None
    assert access_for(user, at=late, channel=Channel.WEB) is not None
    end_role(membership=membership, until_on=date(2026, 11, 4), by=by_system(clinic))
    assert access_for(user, at=late + timedelta(days=1), channel=Channel.WEB) is not None
    assert access_for(user, at=late + timedelta(days=2), channel=Channel.WEB) is None


def test_roles_of_one_clinic_open_nothing_at_another(clinic: Clinic, nurse: User) -> None:
    south = a_clinic("South")
    grant_role(
        user=nurse, clinic=south, role=Role.AUDITOR, from_on=date(2020, 1, 1), by=by_system(south)
    )
    at_north = access_for(nurse, at=NOON, channel=Channel.WEB, clinic_id=clinic.pk)
    at_south = access_for(nurse, at=NOON, channel=Channel.WEB, clinic_id=south.pk)
    assert at_north.can(Permission.RECORD_FACTS)
    assert at_south.roles == {Role.AUDITOR}
    assert not at_south.can(Permission.READ_PATIENTS)


def test_only_prescribers_order_and_no_role_both_edits_and_approves_rules() -> None:
    may_order = {role for role, held in PERMISSIONS.items() if Permission.ORDER in held}
    assert may_order == {Role.PRESCRIBER}
    both = {Permission.EDIT_RULES, Permission.APPROVE_RULES}
    assert not [role for role, held in PERMISSIONS.items() if both <= held]
    assert set(PERMISSIONS) == set(Role)


def test_a_scope_narrows_and_never_widens(nurse: User) -> None:
    access = access_for(
        nurse, at=NOON, channel=Channel.API, scopes=["orders:write", "tasks:write", "gone:old"]
    )
    assert access.can(Permission.WORK_TASKS)
    assert not access.can(Permission.ORDER)
    assert not access.can(Permission.READ_PATIENTS)
    assert not any(access.can(p) for p in Permission if p not in SCOPE_OF)


def test_a_token_opens_what_its_scope_says_and_ends_when_revoked_or_expired(
    clinic: Clinic, nurse: User
) -> None:
    token, key = a_key(nurse, clinic, Scope.HISTORY_READ)
    assert with_key(key) == 200
    assert with_key(key + "x") == 401
    assert with_key(a_key(nurse, clinic, Scope.TASKS_WRITE)[1]) == 403
    assert with_key(a_key(nurse, clinic, Scope.HISTORY_READ, days=-1)[1]) == 401
    revoke_token(token=token, at=timezone.now(), by=by_system(clinic))
    assert with_key(key) == 401


def test_a_token_opens_nothing_at_a_clinic_where_its_owner_holds_no_role(nurse: User) -> None:
    south = a_clinic("South")
    assert with_key(a_key(nurse, south, Scope.HISTORY_READ)[1]) == 401


def test_the_key_is_kept_nowhere(clinic: Clinic, nurse: User) -> None:
    token, key = a_key(nurse, clinic, Scope.HISTORY_READ)
    kept = [
        *ApiToken.objects.filter(pk=token.pk).values_list(),
        *token.history.values_list(),
        *LedgerEntry.objects.values_list("text"),
    ]
    assert key not in repr(kept)


def test_a_token_needs_a_known_scope(clinic: Clinic, nurse: User) -> None:
    with pytest.raises(ValidationError):
        a_key(nurse, clinic)
    with pytest.raises(ValidationError):
        a_key(nurse, clinic, "everything")


def test_a_deactivated_person_is_out_at_once_by_session_and_by_token(
    clinic: Clinic, nurse: User, client: Client
) -> None:
    _, key = a_key(nurse, clinic, Scope.HISTORY_READ)
    client.force_login(nurse)
    assert client.get("/audit/").status_code == 200
    assert with_key(key) == 200
    deactivate_user(user=nurse, by=by_system(clinic))
    assert client.get("/audit/").status_code == 302
    assert with_key(key) == 401
    assert not Client().login(username="nurse", password=PASSWORD)


def test_a_changed_password_ends_other_sessions(
    clinic: Clinic, nurse: User, client: Client
) -> None:
    client.force_login(nurse)
    change_password(user=nurse, password="Evening-chorus-43", by=by_system(clinic))
    assert client.get("/audit/").status_code == 302
    entry = LedgerEntry.objects.latest("pk")
    assert entry.act == "Password changed"
    assert "chorus" not in entry.text


def test_a_weak_password_and_a_name_in_use_are_refused(clinic: Clinic, nurse: User) -> None:
    with pytest.raises(ValidationError) as weak:
        add_user(username="other", password="short", by=by_system())
    assert list(weak.value.message_dict) == ["password"]
    with pytest.raises(ValidationError) as taken:
        add_user(username="NURSE", password=PASSWORD, by=by_system())
    assert list(taken.value.message_dict) == ["username"]


def test_a_person_without_a_role_is_told_so(client: Client, db: None) -> None:
    client.force_login(add_user(username="guest", password=PASSWORD, by=by_system()))
    assert client.get("/audit/").status_code == 403
    response = client.get("/api/v1/history/")
    assert response.status_code == 403
    assert "no role at any clinic today" in response.json()["message"]


def test_a_new_installation_begins_with_a_clinic_and_its_administrator(
    db: None, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    call_command(
        "create_clinic",
        "West",
        "--time-zone=Europe/Dublin",
        "--administrator=boss",
        "--password-stdin",
    )
    access = access_for(User.objects.get(username="boss"), at=timezone.now(), channel=Channel.WEB)
    assert access.clinic.name == "West"
    assert access.roles == {Role.ADMINISTRATOR}
    with pytest.raises(CommandError):
        call_command("create_clinic", "West", "--time-zone=Europe/Dublin", "--administrator=boss")
    with pytest.raises(CommandError):
        call_command("create_clinic", "East", "--time-zone=Berlin", "--administrator=boss")


def test_the_command_prints_a_key_that_works(clinic: Clinic, nurse: User, capsys) -> None:
    call_command("issue_api_token", "nurse", "--scopes", "history:read", "--days=1")
    assert with_key(capsys.readouterr().out.strip()) == 200
    for wrong in (["nobody", "--scopes", "history:read"], ["nurse", "--scopes", "all"]):
        with pytest.raises(CommandError):
            call_command("issue_api_token", *wrong)
    with pytest.raises(CommandError):
        call_command("issue_api_token", "nurse", "--scopes", "history:read", "--clinic=South")


def test_a_lost_password_is_replaced_at_the_machine_with_a_reason(nurse: User, monkeypatch) -> None:
    def typed(password: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        call_command("set_password", "nurse", "--reason=Lost it.", "--password-stdin")

    typed("Evening-chorus-43")
    nurse.refresh_from_db()
    assert nurse.check_password("Evening-chorus-43")
    assert LedgerEntry.objects.latest("pk").reason == "Lost it."
    with pytest.raises(CommandError):
        typed("short")
