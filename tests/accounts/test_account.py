"""One's own account."""

import pytest
from django.test import Client

from tacroweb.accounts.models import User
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import PASSWORD, a_clinic, a_person

NEW = "Evening-chorus-43"


@pytest.fixture
def nurse(db: None, client: Client) -> User:
    user = a_person(a_clinic("North"), Role.NURSE, username="nils")
    client.force_login(user)
    return user


def change(client: Client, **typed: str):
    return client.post("/account/", {"present": PASSWORD, "password": NEW, "again": NEW} | typed)


def test_a_person_changes_the_own_password_and_stays_signed_in(nurse: User, client: Client) -> None:
    other = Client()
    other.force_login(nurse)
    assert change(client).status_code == 302
    nurse.refresh_from_db()
    assert nurse.check_password(NEW)
    assert client.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.act, entry.actor_name) == ("Password changed", "Robin Nils")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"present": "guessed"}, "not your present password"),
        ({"again": "another"}, "not the same"),
        ({"password": "short", "again": "short"}, "too short"),
    ],
)
def test_a_wrong_or_weak_password_is_refused_at_its_field(
    nurse: User, client: Client, typed: dict[str, str], said: str
) -> None:
    page = change(client, **typed)
    assert page.status_code == 200
    assert said in page.content.decode()
    nurse.refresh_from_db()
    assert nurse.check_password(PASSWORD)


def test_the_page_says_who_one_is(nurse: User, client: Client) -> None:
    page = client.get("/account/").content.decode()
    assert "Robin Nils" in page
    assert "Nurse" in page
    assert "North" in page
