"""Two editors at one draft at the same moment: one is first, the other is told, nothing is lost."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from dosing.rules.models import Interaction, RuleBook
from dosing.rules.services import draft_book
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import NOW, a_clinic, a_person, for_all
from tests.rules.test_admin import at, fields_of, text_of
from tests.rules.test_import import exported, send

pytestmark = pytest.mark.django_db(transaction=True)


def editor_of(clinic: Clinic, name: str) -> Client:
    client = Client()
    client.force_login(a_person(clinic, Role.RULE_EDITOR, username=name))
    return client


def together(*acts: Callable[[], Any]) -> list[Any]:
    """The answers to requests that are sent at the same time."""
    answers: list[Any] = []
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> None:
        start.wait()
        try:
            answers.append(act())
        except Exception as error:
            answers.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def a_draft(clinic: Clinic) -> RuleBook:
    return draft_book(at=NOW, by=for_all(a_person(clinic, Role.RULE_EDITOR, username="first")))


def test_of_two_who_save_one_row_at_once_the_second_is_told() -> None:
    clinic = a_clinic()
    draft = a_draft(clinic)
    row = Interaction.objects.filter(book=draft).order_by("pk")[0]
    address = at(Interaction, "change", row.pk)
    editors = [editor_of(clinic, name) for name in ("anna", "bert")]
    forms = [fields_of(editor.get(address)) for editor in editors]
    answers = together(
        lambda: editors[0].post(address, forms[0] | {"mechanism": "A", "reason": "a"}),
        lambda: editors[1].post(address, forms[1] | {"consequence": "B", "reason": "b"}),
    )
    assert Counter(answer.status_code for answer in answers) == {302: 1, 200: 1}
    told = next(answer for answer in answers if answer.status_code == 200)
    assert "saved this row after you opened it" in text_of(told)
    assert row.history.count() == 2


def test_of_one_file_that_two_take_at_once_one_is_taken() -> None:
    clinic = a_clinic()
    draft = a_draft(clinic)
    editors = [editor_of(clinic, name) for name in ("anna", "bert")]
    changed = exported(editors[0], Interaction)[0] | {"mechanism": "From the file"}
    shown = [send(editor, Interaction, [changed]) for editor in editors]
    before = LedgerEntry.objects.count()

    def take(number: int) -> Any:
        preview = shown[number].context["keep_form"]["preview"].value()
        sent = {"preview": preview, "reason": "Committee"}
        return editors[number].post(at(Interaction, "process_import"), sent)

    answers = together(lambda: take(0), lambda: take(1))
    assert Counter(answer.status_code for answer in answers) == {302: 1, 200: 1}
    told = next(answer for answer in answers if answer.status_code == 200)
    assert "it was changed since the preview" in text_of(told)
    assert LedgerEntry.objects.count() == before + 1
    rows = Interaction.objects.filter(book=draft, mechanism="From the file")
    assert [row.history.count() for row in rows] == [2]
