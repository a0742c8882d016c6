"""Guessing passwords is slow, and slows nobody else down."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from tacroweb.accounts.brake import KEPT, MOST, WINDOW
from tacroweb.accounts.models import Clinic, FailedPassword, User
from tacroweb.accounts.roles import Role
from tests.factories import PASSWORD, a_clinic, a_person

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def clock(db: None) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def clinic(clock: time_machine.Traveller) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def nurse(clinic: Clinic) -> User:
    return a_person(clinic, Role.NURSE, username="nils")


def sign_in(username: str, password: str, address: str = "10.0.0.1", **headers: str) -> Any:
    typed = {"username": username, "password": password}
    return Client().post("/sign-in/", typed, REMOTE_ADDR=address, headers=headers)


def guess(username: str, times: int = MOST) -> None:
    for number in range(times):
        assert b"Too many" not in sign_in(username, f"guess {number}").content


def test_after_some_wrong_passwords_the_right_one_waits_too(
    nurse: User, clock: time_machine.Traveller
) -> None:
    guess("nils", MOST - 1)
    assert sign_in("nils", PASSWORD).status_code == 302
    guess("NILS", 1)
    clock.shift(timedelta(minutes=4, seconds=30))
    refused = sign_in("nils", PASSWORD)
    assert b"Wait 11 minutes, then try again." in refused.content
    assert b'value="nils"' in refused.content
    spoofed = sign_in("nils", PASSWORD, **{"X-Forwarded-For": "10.9.9.9"})
    assert b"Too many" in spoofed.content
    assert FailedPassword.objects.count() == MOST
    clock.move_to(NOON + WINDOW)
    assert sign_in("nils", PASSWORD).status_code == 302


def test_nobody_else_waits_and_no_name_is_told_from_another(nurse: User, clinic: Clinic) -> None:
    colleague = a_person(clinic, Role.NURSE)
    guess("nils")
    assert sign_in(colleague.username, PASSWORD).status_code == 302
    assert sign_in("nils", PASSWORD, address="10.0.0.2").status_code == 302
    guess("nobody")
    unknown = sign_in("nobody", "x").context["form"].non_field_errors()
    assert unknown == sign_in("nils", "x").context["form"].non_field_errors()


def test_a_name_longer_than_any_is_refused_like_any(clinic: Clinic) -> None:
    guess("ß" * 10_000)
    assert b"Too many" in sign_in("ß" * 10_000, "guess").content


def test_who_is_signed_in_cannot_guess_the_own_password(nurse: User) -> None:
    client = Client()
    client.force_login(nurse)
    typed = {"password": "Evening-chorus-43", "again": "Evening-chorus-43"}
    for number in range(MOST):
        page = client.post("/account/", typed | {"present": f"guess {number}"})
        assert b"not your present password" in page.content
    assert b"Too many" in client.post("/account/", typed | {"present": PASSWORD}).content
    nurse.refresh_from_db()
    assert nurse.check_password(PASSWORD)
    assert sign_in("nils", PASSWORD).status_code == 302  # one's own door stays open


def test_a_program_cannot_guess_the_password_to_sign_with(clinic: Clinic) -> None:
    client = Client()
    client.force_login(a_person(clinic, Role.PRESCRIBER))
    said = []
    for _ in range(MOST + 1):
        body = json.dumps({"password": "guess"})
        answer = client.post("/api/v1/orders/", body, content_type="application/json")
        assert answer.status_code == 400
        said += answer.json()["fields"]["password"]
    assert said[0].startswith("This is not your password")
    assert said[-1].startswith("Too many wrong passwords")


def test_old_failures_go(nurse: User, clock: time_machine.Traveller) -> None:
    guess("nils", 3)
    clock.shift(KEPT + timedelta(seconds=1))
    guess("nils", 1)
    assert FailedPassword.objects.count() == 1
