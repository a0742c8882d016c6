"""From each statement of the protocol to its rows, its functions and its cases."""

import json
import sys
from dataclasses import fields, replace
from decimal import Decimal
from enum import Enum
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from dosing.rules import casefile, cases, functions, words
from dosing.rules.engine import advice as engine_advice
from dosing.rules.engine import rows
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rows import Origin, Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.management.commands.traceability import newest_shipped
from dosing.rules.protocol import CODES, FILE, Confidence, protocol, read
from dosing.rules.selectors import published_version
from dosing.rules.traceability import report, tallies, trace, traces
from tests.engine.given import ROOT, book

TEXT = FILE.read_text(encoding="utf-8")

# The document


def test_the_document_is_told_once_and_whole() -> None:
    document = protocol()
    assert {each.code for each in document.statements} == set(CODES)
    assert len(document.statements) == 84
    assert [document.section_of(code).key for code in ("S1", "S52", "S84")] == [
        "overview",
        "cyp3a4",
        "duration",
    ]
    for each in document.statements:
        assert each.text.endswith("."), each.code
        assert not each.caution or each.caution.endswith("."), each.code


@pytest.mark.parametrize(
    ("code", "figures"),
    [
        ("S1", "0.075 mg/kg/day|1 to 3 mg/day|5 to 10 ng/mL"),
        ("S7", "0.075 mg/kg/day"),
        ("S8", "1 to 3 mg/day"),
        ("S9", "5 to 10 ng/mL"),
        ("S11", "1000 mg|3 days|2 weeks|two courses"),
        ("S12", "10 mg/day"),
        ("S13", "0.6 to 1.0 mg/kg/day"),
        ("S15", "500 mg/m²"),
        ("S27", "5 to 10 ng/mL"),
        ("S28", "12 hours"),
        ("S29", "1 to 3 months"),
        ("S30", "once a month"),
        ("S39", "ketoconazole|telaprevir|boceprevir"),
        ("S40", "one third"),
        ("S41", "1 to 3 days"),
        ("S80", "6 to 12 months"),
        ("S81", "88 %|52 weeks"),
        ("S82", "20 mg"),
        ("S84", "6 to 110 months|39 months"),
    ],
)
def test_the_paraphrase_keeps_the_figures(code: str, figures: str) -> None:
    text = protocol().statement(code).text
    assert all(figure in text for figure in figures.split("|"))


def test_where_the_document_comes_from_is_said() -> None:
    document = protocol()
    assert "droracle.ai" in document.provenance
    assert "AI" in document.provenance
    unidentified = [each for each in document.sources if each.confidence is Confidence.UNKNOWN]
    assert [each.number for each in unidentified] == [6]
    assert [each.number for each in document.sources_of(document.statement("S10"))] == [4, 2, 3]
    assert [each.words for each in document.sources_of(document.statement("S84"))] == [
        "not identified"
    ]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("S7", "not equivalent"),
        ("S8", "not equivalent"),
        ("S12", "merges two trials"),
        ("S13", "merges two trials"),
        ("S23", "before treatment"),
        ("S44", "a fraction for azoles only"),
        ("S54", "no number"),
        ("S81", "26 patients"),
        ("S84", "could not be identified"),
    ],
)
def test_what_is_inconsistent_in_the_document_is_surfaced(code: str, said: str) -> None:
    assert said in protocol().statement(code).caution


def test_what_the_document_only_implies_is_marked() -> None:
    assert {each.code for each in protocol().statements if not each.in_seed} == {"S6", "S52", "S53"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('title = "Tacrolimus', 'titel = "Tacrolimus', "titel: unknown key"),
        ('code = "S84"', 'code = "S83"', "statements: S83 stands twice"),
        ('code = "S84"', 'code = "S85"', "statements: S84 is missing"),
        ("references = [6]", "references = [7]", "there is no source 7"),
        ("references = [6]", 'references = ["6"]', "must be a whole number"),
        ("references = [6]", "references = 6", "must be a list"),
        ('confidence = "UNKNOWN"', 'confidence = "SURE"', "must be one of CERTAIN"),
        ('items = ["X21"]', 'items = ["X99"]', "S81: there is no item X99"),
        ('items = ["X21"]', "items = []", "items: X21 makes no statement executable"),
        ('code = "X21"', 'code = "Y21"', "Y21 is no D or X item"),
        ("in_seed = false", 'in_seed = "no"', "must be true or false"),
        ('key = "duration"', 'key = "efficacy"', "sections: efficacy stands twice"),
        ('text = "Glucose."', "", "text: is required"),
        ("[[sources]]\nnumber = 1", "[[sources]\nnumber = 1", "not TOML"),
    ],
)
def test_another_document_is_refused(before: str, after: str, said: str) -> None:
    assert before in TEXT
    with pytest.raises(ValueError, match=said):
        read(
            TEXT.replace(before, after, 1)
            if before != "in_seed = false"
            else TEXT.replace(before, after)
        )


def test_a_statement_beyond_the_last_is_refused() -> None:
    beyond = TEXT.replace(
        "# What fills the vague words",
        '[[sections.statements]]\ncode = "S85"\ntext = "More."\nfires = "a"\nsilent = "b"\n\n'
        "# What fills the vague words",
    )
    with pytest.raises(ValueError, match="S85 is no statement"):
        read(beyond)


def test_a_list_where_a_table_is_due_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sources\[0\]: must be a table"):
        read('title = "T"\nprovenance = "P"\nsources = ["A"]\nsections = []\nitems = []')


# Functions, read from the engine's source


def test_the_source_says_of_every_finding_which_one_it_is() -> None:
    for each in functions.functions():
        assert each.resolved, f"{each.name} raises a finding whose code its source does not say"
        assert each.topics, f"{each.name} raises findings and no topic of assess reaches it"


def test_each_finding_of_the_book_has_a_function() -> None:
    lost = [row.code for row in book().findings if not functions.raised_by(row.code, book())]
    assert lost == []


def test_the_function_named_is_the_one_seen_at_work() -> None:
    """Watches the interpreter while every case runs: who asks for which finding.

    A function that only hands on a code is passed over for its caller, here too.
    """
    seen: set[tuple[tuple[str, ...], str]] = set()
    raised = engine_advice.raised.__code__

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code is raised:
            names, up = [], frame.f_back
            while up is not None and up.f_globals["__name__"].startswith("dosing.rules.engine."):
                module = up.f_globals["__name__"].rpartition(".")[2]
                names.append(f"{module}.{up.f_code.co_name}")
                up = up.f_back
            seen.add((tuple(names), frame.f_locals["code"]))

    before = sys.getprofile()
    for path in sorted(cases.FOLDER.glob("*.json")):
        case, at = casefile.read_case(path.read_text(encoding="utf-8"))
        sys.setprofile(watch)
        try:
            assess(case, book(), at=at)
        finally:
            sys.setprofile(before)
    assert len(seen) > 50
    known = {row.code for row in book().findings}
    for names, code in sorted(seen):
        if code in known:
            named = {each.name for each in functions.raised_by(code, book())}
            assert named & set(names[:2]), f"{names} raise {code}; read from the source: {named}"


ENGINE = {
    "advice": "def raised(book, code, message): ...",
    "assess": """
from dosing.rules.engine import topic
from dosing.rules.engine.other import elsewhere
TOPICS = (topic.asked, elsewhere)
""",
    "topic": '''
from dosing.rules.engine import other
from dosing.rules.engine.advice import raised as say
WORDS = {1: "ONE", 2: "TWO"}
CODE, OTHER = "KEPT", "LISTED"
STEPS = ((OTHER, 1), ("ALSO-LISTED", 2))

def asked(case, book, at):
    """What is decided.

    More.
    """
    for each in ("LEFT", "RIGHT"):
        say(book, each, "")
    for name, number in (("A", 1), ("B", 2)):
        say(book, f"{name}-{WORDS[number]}", "")
    say(book, CODE, "")
    for code, number in STEPS:
        say(book, code, "")
    say(book, code="NAMED" if case else other.fallback(case), message="")
    say(book, f"PART-{case.unknown}-END", "")
    return _inner(book, "GIVEN") + _inner(book, code="ALSO")

def _inner(book, code):
    """Says what it is given."""
    return say(book, code, "") + say(book, code + "-SUM", "") + say(book, WORDS.get(code, "NO"), "")

def idle(book):
    """Nobody asks."""
    return say(book, "IDLE", "")
''',
    "other": '''
from dosing.rules.engine.advice import raised

def elsewhere(case, book, at):
    """Reads rows."""
    for code, items in book.index.baseline.items():
        raised(book, code, "")
    for row in book.index.thresholds["potassium"]:
        raised(book, row.finding, "")
    return raised(book, case.whatever, "")

def fallback(case):
    if case:
        return None
    return "FALL" or "BACK"
''',
}


def test_the_code_of_a_finding_is_followed_to_its_words() -> None:
    read_ = {each.name: each for each in functions.read(ENGINE)}
    assert read_["topic.asked"].codes == {
        "LEFT", "RIGHT", "A-ONE", "A-TWO", "B-ONE", "B-TWO", "KEPT", "NAMED", "FALL", "BACK",
        f"PART-{functions.SOME_PART}-END", "GIVEN", "ALSO", "LISTED", "ALSO-LISTED",
    }  # fmt: skip
    assert read_["topic._inner"].codes == {"GIVEN-SUM", "ALSO-SUM", "ONE", "TWO", "NO"}
    assert read_["topic.asked"].summary == "What is decided."
    assert read_["topic._inner"].topics == ("topic.asked",)
    assert read_["topic.idle"].topics == ()
    assert read_["topic.asked"].resolved
    assert read_["topic.asked"].raises("PART-OF-IT-END", book())
    assert not read_["topic.asked"].raises("PART-END", book())


def test_what_the_source_does_not_say_matches_nothing() -> None:
    (elsewhere,) = (each for each in functions.read(ENGINE) if each.name == "other.elsewhere")
    assert not elsewhere.resolved
    assert [(each.table, set(each.keys)) for each in elsewhere.looked] == [
        ("baseline_items", set()),
        ("thresholds", {"potassium"}),
    ]
    assert elsewhere.raises("BASE-CBC", book())
    assert elsewhere.raises("POTASSIUM-HIGH", book())
    assert not elsewhere.raises("MAGNESIUM-LOW", book())
    assert not elsewhere.raises("INT-AZOLE-STARTED", book())


# Cases


def test_the_index_that_ships_is_what_the_cases_give() -> None:
    """Else: manage.py traceability --write."""
    made = cases.written(cases.collected(newest_shipped()))
    assert made == cases.INDEX.read_text(encoding="utf-8"), (
        "exercised.json is not current: run manage.py traceability --write"
    )


def test_every_case_that_ships_is_as_expected() -> None:
    for each in cases.index().cases:
        trial = cases.tried(each.name, book())
        assert trial is not None
        assert trial.expected, each.name
        assert trial.departures == (), each.name


def test_a_departure_from_what_is_expected_is_told() -> None:
    text = cases.text_of("voriconazole-started")
    assert text is not None
    case, at = casefile.read_case(text)
    answer = casefile.encode_advice(assess(case, book(), at=at))
    answer["due_tests"] = [each for each in answer["due_tests"] if "S41" in each["statements"]]
    expect = {
        "statements_present": ["S40", "S51"],
        "statements_absent": ["S51", "S41"],
        "severity": {"S42": "WARN", "S51": "STOP"},
        "severity_at_most": {"S40": "CAUTION"},
        "proposal": {"action": "CHANGE", "total_daily_mg": "1.5"},
        "proposal_not": {"action": "CHANGE"},
        "outcome": "OUTSIDE_PROTOCOL",
        "due_within_days": {"tacrolimus-trough": [9, 9], "weight": [0, 1]},
    }
    assert list(cases.departures(expect, answer)) == [
        "S51 is not cited.",
        "S41 is cited.",
        "S42 is less severe than Warning.",
        "S51 is less severe than Stop.",
        "S40 is more severe than Caution.",
        "The outcome is ADVICE.",
        "The proposal is a change to 1.0 mg/day (0.5 mg and 0.5 mg).",
        "The proposal is a change to 1.0 mg/day (0.5 mg and 0.5 mg).",
        "Tacrolimus level is due in days: 2.",
        "Weight is due in days: never.",
    ]
    assert list(cases.departures({"proposal": None}, answer | {"proposal": None})) == []
    assert list(
        cases.departures({"proposal": {"action": "HOLD"}}, answer | {"proposal": None})
    ) == ["The proposal is none."]
    assert list(cases.expectations(expect))[4:6] == [
        "S40 is at most Caution.",
        "Proposes a change to 1.5 mg/day.",
    ]


def test_a_case_without_its_file_is_known_by_its_name_only() -> None:
    assert cases.tried("no-such-case", book()) is None
    assert cases.text_of("no-such-case") is None


def test_a_file_that_is_no_case_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"case": {"at": "yesterday"}}')
    with pytest.raises(ValueError, match=r"broken\.json"):
        cases.collected(book(), tmp_path)
    with pytest.raises(FileNotFoundError):
        cases.collected(book(), tmp_path / "nowhere")


# Traces


def test_a_statement_is_traced_to_its_rows_its_function_and_its_cases() -> None:
    found = trace(protocol().statement("S40"), book(), cases.index())
    assert "interactions._cut" in {each.name for each in found.functions}
    assert ("findings", "INT-AZOLE-STARTED") in {
        (each.table, each.row.code) for each in found.enabled
    }
    assert found.disabled
    assert found.origins[0] is Origin.SEED
    assert "voriconazole-started" in {each.name for each in found.fires}
    assert "fluconazole-started" in {each.name for each in found.silent}
    assert found.gaps == ()


def test_what_is_missing_is_said() -> None:
    bare = replace(book(), findings=())
    found = trace(protocol().statement("S51"), bare, cases.Index(rule_book="none", cases=()))
    assert found.gaps[-3:] == (
        "no function of the engine raises it",
        "no case shows it at work",
        "no case comes close and keeps it silent",
    )
    assert "MISSING" in next(report((found,)))


def test_a_row_that_is_off_implements_nothing() -> None:
    off = replace(
        book(),
        findings=tuple(
            replace(row, enabled=False) if "S51" in row.statements else row
            for row in book().findings
        ),
    )
    found = trace(protocol().statement("S51"), off, cases.index())
    assert found.functions == ()
    assert found.disabled


def test_the_rows_of_a_book_are_counted_by_where_they_come_from() -> None:
    held = [row for table in book().tables().values() for row in table]
    counted = tallies(book())
    assert sum(each.enabled + each.disabled for each in counted) == len(held)
    unapproved = sum(row.enabled and row.needs_local_approval for row in held)
    assert sum(each.unapproved for each in counted) == unapproved


def test_all_at_once_gives_what_one_by_one_gives() -> None:
    document, index = protocol(), cases.index()
    assert traces(document, book(), index) == tuple(
        trace(each, book(), index) for each in document.statements
    )


def test_the_command_needs_no_database_and_prints_every_statement() -> None:
    out = StringIO()
    call_command("traceability", "--shipped", stdout=out)
    printed = out.getvalue()
    assert printed.endswith("All 84 statements are traced.\n")
    assert all(f"\n{code} " in printed for code in CODES)
    assert "interactions._cut" in printed


@pytest.mark.django_db
def test_the_command_reads_the_published_book_or_another() -> None:
    out = StringIO()
    call_command("traceability", stdout=out)
    assert out.getvalue().startswith(f"Rule book {published_version().version}, ")
    with pytest.raises(CommandError, match="There is no rule book 1999-01") as error:
        call_command("traceability", "--book", "1999-01")
    assert error.value.returncode == 2


@pytest.mark.django_db
def test_a_statement_that_is_not_traced_whole_is_named_and_fails_the_command() -> None:
    with pytest.raises(CommandError, match=r"Not traced whole: .*S84") as error:
        call_command("traceability", "--book", "2026-01", stdout=StringIO())
    assert error.value.returncode == 1


# Words


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case Enum():
            return next(each for each in type(value) if each is not value)
        case Decimal():
            return value + 7
        case int():
            return value + 7
        case str():
            return f"{value} and another"
        case tuple():
            return (*value, "another")
        case None:
            return None
    raise AssertionError(f"{value!r}")


SAMPLES: dict[str, Any] = {
    "int | None": 3,
    "decimal.Decimal | None": Decimal("2.5"),
    "Decimal | None": Decimal("2.5"),
    "Decimal": Decimal("2.5"),
    "int": 3,
    "bool": True,
    "str": "word",
    "tuple[str, ...]": ("word",),
}


def a_row(kind: type[rows.Row]) -> rows.Row:
    given: dict[str, Any] = {}
    for each in fields(kind):
        name = str(getattr(each.type, "__name__", each.type))
        if isinstance(each.type, type) and issubclass(each.type, Enum):
            given[each.name] = next(iter(each.type))
        elif str(each.type) in SAMPLES or name in SAMPLES:
            given[each.name] = SAMPLES.get(str(each.type), SAMPLES.get(name))
    given |= {"code": "ROW", "statements": (), "origin": Origin.SEED, "source": "A source."}
    given.pop("reviewed_on", None)
    if "high" in given:
        given["high"] = Decimal("9.5")
    if "to_month" in given:
        given["to_month"] = 12
    return kind(**given)


KINDS = sorted(
    {
        kind
        for kind in vars(rows).values()
        if isinstance(kind, type)
        and issubclass(kind, rows.Row)
        and kind not in (rows.Row, rows.BoundedRow)
    },
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_row_is_told(kind: type[rows.Row]) -> None:
    row = a_row(kind)
    before = words.told(row)
    assert all("None" not in each.text for each in before)
    for each in fields(kind):
        if each.name not in words.COMMON:
            changed = replace(row, **{each.name: other(getattr(row, each.name))})
            assert words.told(changed) != before, each.name


def bounded(low: str | None, high: str | None, ends: str, unit: str = "ng/mL") -> rows.BoundedRow:
    return rows.ThresholdRow(
        code="ROW",
        statements=(),
        origin=Origin.SEED,
        source="A source.",
        quantity="tacrolimus-trough",
        unit=unit,
        low=None if low is None else Decimal(low),
        high=None if high is None else Decimal(high),
        low_included=ends[0] == "[",
        high_included=ends[1] == "]",
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (bounded("5", "10.0", "[]"), "5 to 10 ng/mL, both included"),
        (bounded("15", "20", "(]"), "above 15 up to 20 ng/mL"),
        (bounded("3", "5", "[)"), "3 to below 5 ng/mL"),
        (bounded("3", "5", "()"), "above 3 and below 5 ng/mL"),
        (bounded(None, "3", "[)"), "below 3 ng/mL"),
        (bounded(None, "3", "[]"), "up to 3 ng/mL"),
        (bounded("20", None, "()"), "above 20 ng/mL"),
        (bounded("20", None, "[)"), "20 ng/mL or more"),
        (bounded("5", "5", "[]"), "exactly 5 ng/mL"),
        (bounded(None, None, "[)"), "any value"),
        (bounded("1.5", "2", "[)", "1"), "1.5 to below 2"),
    ],
)
def test_a_stretch_is_read_aloud(row: rows.BoundedRow, said: str) -> None:
    assert words.stretch(row) == said


def test_quantities_are_read_aloud() -> None:
    assert words.amount(Decimal("0.0750"), "mg/kg/d") == "0.075 mg/kg/day"
    assert words.amount(1, "d") == "1 day"
    assert words.amount(28, "d") == "28 days"
    assert words.span(1, 3, "mg/d") == "1 to 3 mg/day"
    assert words.span(Decimal("1000.0"), Decimal(1000), "mg") == "1000 mg"
    assert words.words(Severity.WARN) == "Warning"
    assert words.words("HCV_ANTIVIRAL") == "Hepatitis C antiviral"
    assert words.words("") == ""


def test_a_fraction_is_shown_as_one() -> None:
    ratio = rows.RatioRow(
        code="ROW",
        statements=(),
        origin=Origin.SEED,
        source="A source.",
        numerator=1,
        denominator=3,
    )
    assert words.told(ratio) == (words.Told(label="Fraction", text="1/3"),)


def test_a_lower_target_without_a_number_says_so() -> None:
    row = rows.LocalTargetRow(
        code="ROW",
        statements=("S54",),
        origin=Origin.LOCAL,
        source="A source.",
        stage="R1",
        option="Elsewhere.",
        unit="ng/mL",
    )
    assert words.NO_NUMBER in [each.text for each in words.told(row)]
    approved = replace(row, low=Decimal(4), high=Decimal(6))
    assert "4 to 6 ng/mL" in [each.text for each in words.told(approved)]


def test_every_table_stands_under_one_heading() -> None:
    known = [name for heading in words.HEADINGS for name in heading.tables]
    assert sorted(known) == sorted(book().tables())
    shown = [name for _, tables in words.headings(book()) for name in tables]
    assert sorted(shown) == sorted(name for name, held in book().tables().items() if held)


def test_a_table_of_a_later_release_stands_under_its_own_heading() -> None:
    class Later(RuleBook):
        def tables(self) -> dict[str, tuple[rows.Row, ...]]:
            return super().tables() | {"new_rows": self.findings}

    later = Later(**{each.name: getattr(book(), each.name) for each in fields(book()) if each.init})
    assert [heading.title for heading, _ in words.headings(later)][-1] == "New rows"


def test_the_case_files_are_where_the_index_looks() -> None:
    assert ROOT / "tests/cases" == cases.FOLDER
    assert json.loads(cases.INDEX.read_text(encoding="utf-8"))["rule_book"] == book().version


def test_every_statement_is_traced_whole_and_its_chosen_cases_come_first() -> None:
    for each in traces(protocol(), book(), cases.index()):
        assert each.gaps == (), each.statement.code
        assert each.fires[0].name == each.statement.fires, each.statement.code
        assert each.silent[0].name == each.statement.silent, each.statement.code
