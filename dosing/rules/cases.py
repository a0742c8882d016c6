"""The case files that exercise the protocol: their index, which ships, and what each must give.

The files stand under tests/cases, in the case format. `exercised.json` says of each what it cited
and raised under the newest rule book of this release, so that pages can name the cases where the
files themselves were not installed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from dosing.rules import casefile
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rows import Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.words import words
from patients.vocabulary import vocabulary

FOLDER = Path(__file__).parents[2] / "tests" / "cases"
INDEX = Path(__file__).with_name("exercised.json")
_ACTIONS = {"START": "a start at", "CHANGE": "a change to", "HOLD": "a hold", "STOP": "a stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercised:
    """One case file and what came of it: statements cited, findings raised by code.

    `absent` are the statements that it expects to stay silent.
    """

    name: str
    note: str
    statements: tuple[str, ...]
    codes: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The cases by name, under one rule book."""

    rule_book: str
    cases: tuple[Exercised, ...]

    def citing(self, statement: str) -> tuple[Exercised, ...]:
        """The cases in which the statement fires, those that show little else first."""
        found = [each for each in self.cases if statement in each.statements]
        return tuple(sorted(found, key=lambda each: (len(each.statements), each.name)))

    def silent(self, statement: str, chosen: str = "") -> tuple[Exercised, ...]:
        """The cases in which the statement stays silent, and which expect that or were `chosen`."""
        return tuple(
            each
            for each in self.cases
            if (statement in each.absent or each.name == chosen)
            and statement not in each.statements
        )

    def raising(self, code: str) -> tuple[Exercised, ...]:
        """The cases that raise the finding of this code, those that raise little else first."""
        found = [each for each in self.cases if code in each.codes]
        return tuple(sorted(found, key=lambda each: (len(each.codes), each.name)))

    def named(self, name: str) -> Exercised:
        """The case of this name. Raises `KeyError`."""
        for each in self.cases:
            if each.name == name:
                return each
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One case put to a rule book now: its advice, and where it is not as expected."""

    expected: tuple[str, ...]
    advice: Mapping[str, Any]
    departures: tuple[str, ...]


@cache
def index() -> Index:
    """The index that ships, read once a process."""
    data = json.loads(INDEX.read_text(encoding="utf-8"))
    return Index(
        rule_book=data["rule_book"],
        cases=tuple(
            Exercised(
                name=name,
                note=given["note"],
                statements=tuple(given["statements"]),
                codes=tuple(given["codes"]),
                absent=tuple(given["absent"]),
            )
            for name, given in data["cases"].items()
        ),
    )


def collected(book: RuleBook, folder: Path = FOLDER) -> Index:
    """The index as the case files of `folder` make it under `book`.

    Raises `FileNotFoundError` where there is none, ValueError naming the file that is no case.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FileNotFoundError(folder)
    return Index(rule_book=book.version, cases=tuple(_exercised(path, book) for path in paths))


def _exercised(path: Path, book: RuleBook) -> Exercised:
    text = path.read_text(encoding="utf-8")
    try:
        given = json.loads(text)
        case, at = casefile.read_case(text)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    advice = assess(case, book, at=at)
    cited = {statement for found in advice.findings for statement in found.statements}
    return Exercised(
        name=path.stem,
        note=given.get("note", ""),
        statements=tuple(sorted(cited, key=_number)),
        codes=tuple(sorted({found.code for found in advice.findings})),
        absent=tuple(sorted(given.get("expect", {}).get("statements_absent", ()), key=_number)),
    )


def written(made: Index) -> str:
    """The text of `exercised.json`: one case a line, so that a change shows as the lines it is."""
    lines = (
        f" {casefile.written(each.name)}: "
        + casefile.written(
            {
                "note": each.note,
                "statements": each.statements,
                "codes": each.codes,
                "absent": each.absent,
            }
        )
        for each in made.cases
    )
    book = casefile.written(made.rule_book)
    return f'{{"rule_book": {book}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n"


def text_of(name: str) -> str | None:
    """The text of a case file; None where the files are not installed."""
    try:
        return (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    except OSError:
        return None


def tried(name: str, book: RuleBook) -> Trial | None:
    """The case put to `book` now; None where its file is not installed."""
    text = text_of(name)
    if text is None:
        return None
    case, at = casefile.read_case(text)
    expect = json.loads(text).get("expect", {})
    advice = casefile.encode_advice(assess(case, book, at=at))
    return Trial(
        expected=tuple(expectations(expect)),
        advice=advice,
        departures=tuple(departures(expect, advice)),
    )


def expectations(expect: Mapping[str, Any]) -> Iterator[str]:
    """What a case file asks for, as sentences."""
    if present := expect.get("statements_present"):
        yield f"Cites {', '.join(present)}."
    if absent := expect.get("statements_absent"):
        yield f"Does not cite {', '.join(absent)}."
    for statement, least in expect.get("severity", {}).items():
        yield f"{statement} is {words(least)} or more severe."
    for statement, most in expect.get("severity_at_most", {}).items():
        yield f"{statement} is at most {words(most)}."
    if "proposal" in expect:
        yield (
            f"Proposes {_proposal_words(expect['proposal'])}."
            if expect["proposal"]
            else "Proposes no start and no change."
        )
    if "proposal_not" in expect:
        yield f"Does not propose {_proposal_words(expect['proposal_not'])}."
    if "outcome" in expect:
        yield f"The outcome is {expect['outcome']}."
    for analyte, (first, last) in expect.get("due_within_days", {}).items():
        span = f"{first} days" if first == last else f"{first} to {last} days"
        yield f"{_test(analyte)} is due {span} after the moment of the case."


def departures(expect: Mapping[str, Any], advice: Mapping[str, Any]) -> Iterator[str]:
    """Where an advice is not what the case file asks for, as sentences; nothing where it is."""
    graded: dict[str, list[Severity]] = {}
    for finding in advice["findings"]:
        for statement in finding["statements"]:
            graded.setdefault(statement, []).append(Severity[finding["severity"]])
    for statement in expect.get("statements_present", ()):
        if statement not in graded:
            yield f"{statement} is not cited."
    for statement in expect.get("statements_absent", ()):
        if statement in graded:
            yield f"{statement} is cited."
    for statement, least in expect.get("severity", {}).items():
        if max(graded.get(statement, [Severity.INFO])) < Severity[least]:
            yield f"{statement} is less severe than {words(least)}."
    for statement, most in expect.get("severity_at_most", {}).items():
        if max(graded.get(statement, [Severity.INFO])) > Severity[most]:
            yield f"{statement} is more severe than {words(most)}."
    if "outcome" in expect and advice["outcome"] != expect["outcome"]:
        yield f"The outcome is {advice['outcome']}."
    yield from _proposal_departures(expect, advice["proposal"])
    today = date.fromisoformat(advice["at"][:10])
    for analyte, (first, last) in expect.get("due_within_days", {}).items():
        days = sorted(
            (date.fromisoformat(test["due"]) - today).days
            for test in advice["due_tests"]
            if test["analyte"] == analyte
        )
        if not any(first <= day <= last for day in days):
            found = ", ".join(map(str, days)) or "never"
            yield f"{_test(analyte)} is due in days: {found}."


def _proposal_departures(
    expect: Mapping[str, Any], proposal: Mapping[str, Any] | None
) -> Iterator[str]:
    if "proposal" in expect:
        wanted = expect["proposal"]
        as_wanted = (
            proposal is None or proposal["action"] == "HOLD"
            if wanted is None
            else proposal is not None and all(proposal[key] == wanted[key] for key in wanted)
        )
        if not as_wanted:
            yield f"The proposal is {_proposal_words(proposal)}."
    unwanted = expect.get("proposal_not")
    if unwanted and proposal and all(proposal[key] == unwanted[key] for key in unwanted):
        yield f"The proposal is {_proposal_words(proposal)}."


def _proposal_words(proposal: Mapping[str, Any] | None) -> str:
    if proposal is None:
        return "none"
    words = _ACTIONS.get(proposal.get("action", ""), "a dose of")
    doses = [proposal.get(f"{part}_mg") for part in ("morning", "evening")]
    total = proposal.get("total_daily_mg")
    text = f"{words} {total} mg/day" if total else words
    return f"{text} ({doses[0]} mg and {doses[1]} mg)" if all(doses) else text


def _test(analyte: str) -> str:
    known = vocabulary().analyte(analyte)
    return known.name if known else analyte


def _number(statement: str) -> tuple[int, str]:
    digits = "".join(character for character in statement if character.isdigit())
    return (int(digits or 0), statement)
