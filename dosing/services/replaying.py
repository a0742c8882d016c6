"""An assessment once more: its facts, its rule book, the engine of today; and why it differs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import models

from dosing.models import Assessment
from dosing.rules import casefile, toml_book
from dosing.rules.engine.assess import ENGINE_VERSION, assess
from dosing.rules.loading import engine_book, stored_book
from dosing.rules.models import RuleBook
from dosing.rules.services import digest_of_text
from tacroweb.audit.ledger import canonical


class Cause(models.TextChoices):
    """Why a stored assessment does not give the same answer again."""

    NONE = "", "The same answer, byte for byte"
    BOOK_CHANGED = "BOOK_CHANGED", "The rule book is not what it was when it was settled"
    BOOK_UNREADABLE = "BOOK_UNREADABLE", "The rule book cannot be read"
    CASE_UNREADABLE = "CASE_UNREADABLE", "The stored facts cannot be read"
    ADVICE_UNREADABLE = "ADVICE_UNREADABLE", "The stored answer cannot be read"
    OTHER_ENGINE = "OTHER_ENGINE", "Another version of the engine made it"
    OTHER_ANSWER = "OTHER_ANSWER", "The same facts and rules give another answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place at which the stored answer and the one of today differ, in the case format."""

    where: str
    stored: str
    now: str

    def __str__(self) -> str:
        return f"{self.where}: {self.stored} → {self.now}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The outcome: the same bytes, or why not. `words` says what the cause is in this case."""

    cause: Cause
    words: str = ""
    differences: tuple[Difference, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the stored facts under the stored book give the stored answer byte for byte."""
        return self.cause is Cause.NONE


def replay(assessment: Assessment) -> Replay:
    """Put the stored facts to the stored rule book again and compare with what was answered.

    Nothing is written. The answer is the same if its canonical text is; otherwise every place that
    differs is named with the likeliest cause: a book or an engine that is not the one of then, or
    neither.
    """
    try:
        book = engine_book(assessment.rule_book)
    except ValueError as error:
        return Replay(cause=Cause.BOOK_UNREADABLE, words=f"{error}.")
    try:
        case, at = casefile.decode_case(json.loads(assessment.case_text))
    except ValueError as error:
        return Replay(cause=Cause.CASE_UNREADABLE, words=f"{error}.")
    answer = casefile.encode_advice(assess(case, book, at=at))
    if canonical(answer) == assessment.advice_text:
        return Replay(cause=Cause.NONE)
    try:
        stored = json.loads(assessment.advice_text)
    except ValueError as error:
        return Replay(cause=Cause.ADVICE_UNREADABLE, words=f"{error}.")
    differences = tuple(_differences(stored, json.loads(canonical(answer))))
    cause, words = Cause.OTHER_ANSWER, ""
    if changed := book_changed(assessment.rule_book):
        cause, words = Cause.BOOK_CHANGED, changed
    elif assessment.engine_version != ENGINE_VERSION:
        older = _number(assessment.engine_version) < _number(ENGINE_VERSION)
        age = "an older" if older else "a newer"
        cause = Cause.OTHER_ENGINE
        words = (
            f"Engine {assessment.engine_version}, {age} one, made it; engine {ENGINE_VERSION} "
            "answers now."
        )
    if not differences:
        words = f"{words} The values are the same and are written otherwise.".strip()
    return Replay(cause=cause, words=words, differences=differences)


def book_changed(book: RuleBook) -> str:
    """In what a settled rule book is not what it was; "" for one that is."""
    return _book_changed(book.pk, book.sha256)


@lru_cache(maxsize=64)
def _book_changed(pk: int, sha256: str) -> str:
    book = RuleBook.objects.get(pk=pk)
    if digest_of_text(book.text) != sha256:
        return f"The text of rule book {book} no longer gives its digest."
    try:
        settled, now = toml_book.read(book.text), stored_book(book)
    except ValueError as error:
        return f"Rule book {book} cannot be read: {error}."
    return "" if settled == now else f"The rows of rule book {book} are not those of its text."


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _differences(stored: Any, now: Any, where: str = "") -> Iterator[Difference]:
    """Every place at which two JSON values differ; findings and tests are known by their names."""
    if isinstance(stored, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*stored, *now)):
            step = f"{where}.{key}" if where else key
            yield from _differences(stored.get(key), now.get(key), step)
    elif isinstance(stored, list) and isinstance(now, list):
        yield from _of_lists(stored, now, where)
    elif stored != now:
        yield Difference(where=where, stored=_said(stored), now=_said(now))


def _of_lists(stored: list[Any], now: list[Any], where: str) -> Iterator[Difference]:
    if not all(isinstance(each, dict) for each in (*stored, *now)):
        if stored != now:
            yield Difference(where=where, stored=_said(stored), now=_said(now))
        return
    before, after = _named(stored), _named(now)
    for name in dict.fromkeys((*before, *after)):
        step = f"{where} {name}"
        if name in before and name in after:
            yield from _differences(before[name], after[name], step)
        else:
            said = name in before, name in after
            old, new = ("said" if there else "not said" for there in said)
            yield Difference(where=step, stored=old, now=new)
    if list(before) != list(after) and set(before) == set(after):
        yield Difference(where=where, stored=", ".join(before), now=", ".join(after))


def _named(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Findings by their code, tests by analyte and day; of two that are alike the second is #2."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        name = str(item.get("code") or f"{item.get('analyte')} by {item.get('due')}")
        alike = sum(known.partition(" #")[0] == name for known in found)
        found[f"{name} #{alike + 1}" if alike else name] = item
    return found


def _said(value: Any) -> str:
    return "nothing" if value is None else canonical(value)
