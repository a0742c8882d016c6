"""The back office opens to maintainers only, and every save there is a signed act with a reason."""

from datetime import date

import pytest
from django.test import Client

from tacroweb.accounts.models import ApiToken, Clinic, Membership, User
from tacroweb.accounts.roles import Role, Scope
from tacroweb.accounts.services import grant_role, issue_token
from tacroweb.audit.models import LedgerEntry
from tests.factories import NOW, PASSWORD, a_clinic, a_person, by_system


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def admin(clinic: Clinic, client: Client) -> Client:
    client.force_login(a_person(clinic, Role.ADMINISTRATOR, username="boss"))
    return client


def newest_act() -> tuple[str, str, str, str]:
    entry = LedgerEntry.objects.latest("pk")
    return entry.act, entry.actor_name, entry.channel, entry.reason


@pytest.mark.parametrize(
    ("role", "opens"),
    [
        (Role.PRESCRIBER, False),
        (Role.PHARMACIST, False),
        (Role.NURSE, False),
        (Role.AUDITOR, False),
        (Role.API_CLIENT, False),
        (Role.RULE_EDITOR, True),
        (Role.RULE_APPROVER, True),
        (Role.ADMINISTRATOR, True),
    ],
)
def test_the_door_follows_the_role_not_the_staff_flag(
    clinic: Clinic, client: Client, role: Role, opens: bool
) -> None:
    client.force_login(a_person(clinic, role, is_staff=True))
    assert client.get("/admin/").status_code == (200 if opens else 302)


@pytest.mark.parametrize("page", ["accounts/user", "accounts/membership", "accounts/apitoken"])
def test_who_maintains_rules_does_not_manage_people(
    clinic: Clinic, client: Client, page: str
) -> None:
    client.force_login(a_person(clinic, Role.RULE_EDITOR, is_staff=True))
    assert client.get(f"/admin/{page}/").status_code == 403


def test_a_person_is_added_with_a_reason(admin: Client) -> None:
    form = {"username": "sato", "first_name": "Rei", "last_name": "Sato", "password": PASSWORD}
    refused = admin.post("/admin/accounts/user/add/", form)
    assert b"This field is required" in refused.content
    assert not User.objects.filter(username="sato").exists()
    response = admin.post("/admin/accounts/user/add/", form | {"reason": "Starts on Monday."})
    assert response.status_code == 302
    assert User.objects.get(username="sato").check_password(PASSWORD)
    assert newest_act() == ("Person added", "Robin Boss", "ADMIN", "Starts on Monday.")


def test_what_the_service_refuses_stands_in_the_form(admin: Client) -> None:
    form = {"username": "boss", "first_name": "", "last_name": "", "password": "short"}
    taken = admin.post("/admin/accounts/user/add/", form | {"reason": "x"})
    assert b"already exists" in taken.content
    weak = admin.post("/admin/accounts/user/add/", form | {"username": "sato", "reason": "x"})
    assert b"too short" in weak.content
    assert User.objects.count() == 1


def test_a_person_is_deactivated_and_never_deleted(admin: Client, clinic: Clinic) -> None:
    user = a_person(clinic, Role.NURSE)
    url = f"/admin/accounts/user/{user.pk}/change/"
    form = {"first_name": user.first_name, "last_name": user.last_name, "password": ""}
    assert admin.post(url, form | {"reason": "Left."}).status_code == 302
    user.refresh_from_db()
    assert not user.is_active
    assert newest_act()[0] == "Person deactivated"
    assert admin.get(f"/admin/accounts/user/{user.pk}/delete/").status_code == 403


def test_a_role_is_given_at_the_own_clinic_and_ended(admin: Client, clinic: Clinic) -> None:
    user = a_person(clinic)
    form = {"user": user.pk, "role": "NURSE", "from_on": "2026-01-01", "reason": "Ward 3."}
    assert admin.post("/admin/accounts/membership/add/", form).status_code == 302
    held = Membership.objects.get(user=user)
    assert held.clinic == clinic
    again = admin.post("/admin/accounts/membership/add/", form)
    assert again.status_code == 200
    url = f"/admin/accounts/membership/{held.pk}/change/"
    assert admin.post(url, {"until_on": "2025-12-31", "reason": "x"}).status_code == 200
    assert admin.post(url, {"until_on": "2026-02-01", "reason": "Left."}).status_code == 302
    held.refresh_from_db()
    assert held.until_on == date(2026, 2, 1)
    assert newest_act()[0] == "Role ended"


def test_people_roles_and_tokens_of_another_clinic_are_out_of_reach(
    admin: Client, clinic: Clinic
) -> None:
    south = a_clinic("South")
    stranger = a_person(south, Role.NURSE)
    token, _ = issue_token(
        user=stranger,
        clinic=south,
        name="theirs",
        scopes=[Scope.HISTORY_READ],
        expires_at=NOW,
        by=by_system(south),
    )
    held = stranger.memberships.get()
    for path in (f"user/{stranger.pk}", f"membership/{held.pk}", f"apitoken/{token.pk}"):
        assert admin.get(f"/admin/accounts/{path}/change/").status_code == 302
    grant_role(
        user=stranger,
        clinic=clinic,
        role=Role.NURSE,
        from_on=date(2026, 1, 1),
        by=by_system(clinic),
    )
    shared = f"/admin/accounts/user/{stranger.pk}/change/"
    assert admin.get(shared).status_code == 200
    assert admin.post(shared, {"password": PASSWORD, "reason": "mine"}).status_code == 403


def test_a_token_is_revoked_with_a_reason(admin: Client, clinic: Clinic) -> None:
    token, _ = issue_token(
        user=User.objects.get(username="boss"),
        clinic=clinic,
        name="old",
        scopes=[Scope.HISTORY_READ],
        expires_at=NOW,
        by=by_system(clinic),
    )
    url = f"/admin/accounts/apitoken/{token.pk}/change/"
    assert admin.get(url).status_code == 200
    assert admin.post(url, {"reason": "Leaked."}).status_code == 302
    assert ApiToken.objects.get(pk=token.pk).revoked_at is not None
    assert newest_act() == ("API token revoked", "Robin Boss", "ADMIN", "Leaked.")


def test_the_ledger_is_read_only_and_of_the_own_clinic(admin: Client, clinic: Clinic) -> None:
    a_person(clinic, Role.NURSE)
    a_person(a_clinic("South"), Role.NURSE)
    page = admin.get("/admin/audit/ledgerentry/")
    assert page.status_code == 200
    chains = {entry.chain.name for entry in page.context["cl"].result_list}
    assert chains == {f"clinic:{clinic.pk}"}
    entry = LedgerEntry.objects.filter(chain__name=f"clinic:{clinic.pk}")[0]
    url = f"/admin/audit/ledgerentry/{entry.pk}"
    assert admin.get(f"{url}/change/").status_code == 200
    assert admin.post(f"{url}/change/", {"reason": "another"}).status_code == 403
    assert admin.get(f"{url}/delete/").status_code == 403


def test_the_back_office_has_no_sign_in_and_no_password_page_of_its_own(
    clinic: Clinic, client: Client
) -> None:
    assert client.get("/admin/login/", {"next": "/admin/"}).url == "/sign-in/?next=/admin/"
    client.force_login(a_person(clinic, Role.NURSE))
    refused = client.get("/admin/", follow=True)
    assert refused.status_code == 403
    assert b"maintain nothing" in refused.content
    client.force_login(a_person(clinic, Role.ADMINISTRATOR))
    assert client.get("/admin/password_change/").url == "/account/"
