"""The protocol document itself: its sections, its statements in our words, and their sources."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

FILE = Path(__file__).with_name("statements.toml")
# S1 to S84, each exactly once: what "the whole protocol" means.
CODES = tuple(f"S{number}" for number in range(1, 85))
_ITEM = re.compile(r"[DX][1-9][0-9]?[a-d]?")
T = TypeVar("T")


class Confidence(StrEnum):
    """How sure it is that a bare reference number stands for this source."""

    CERTAIN = "CERTAIN"
    HIGH = "HIGH"
    RECALLED = "RECALLED"
    UNKNOWN = "UNKNOWN"


CONFIDENCE_WORDS = {
    Confidence.CERTAIN: "certain by its content",
    Confidence.HIGH: "very likely",
    Confidence.RECALLED: "from memory, not read again",
    Confidence.UNKNOWN: "not identified",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one reference number of the document probably stands for, and why we think so."""

    number: int
    title: str
    confidence: Confidence
    why: str
    identifier: str = ""

    @property
    def words(self) -> str:
        """How sure the attribution is, in words."""
        return CONFIDENCE_WORDS[self.confidence]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A D item fills a vague word of the document; an X item settles a doubt about it."""

    code: str
    about: str
    settled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of the document in our words, figures kept.

    `references` are the document's numbers, `items` the D and X items that make it executable.
    `caution` is what a user must know first; `in_seed` is False where the document only implies it.
    `fires` names the case shown for it at work, `silent` the one that comes close.
    """

    code: str
    text: str
    fires: str
    silent: str
    references: tuple[int, ...] = ()
    items: tuple[str, ...] = ()
    caution: str = ""
    in_seed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the document with its statements; `part` is the heading above it."""

    key: str
    part: str
    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The whole document: whence it comes, its sections in order, and what settles its words."""

    title: str
    provenance: str
    sources: tuple[Source, ...]
    sections: tuple[Section, ...]
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        _refuse_gaps(self)

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement in the order of the document."""
        return tuple(each for section in self.sections for each in section.statements)

    def statement(self, code: str) -> Statement:
        """The statement of this code. Raises `KeyError`."""
        return {each.code: each for each in self.statements}[code]

    def section_of(self, code: str) -> Section:
        """The section in which a statement stands. Raises `KeyError`."""
        for section in self.sections:
            if any(each.code == code for each in section.statements):
                return section
        raise KeyError(code)

    def sources_of(self, statement: Statement) -> tuple[Source, ...]:
        """The sources of a statement in the order in which the document cites them."""
        known = {source.number: source for source in self.sources}
        return tuple(known[number] for number in statement.references)

    def items_of(self, statement: Statement) -> tuple[Item, ...]:
        """What makes a statement executable."""
        known = {item.code: item for item in self.items}
        return tuple(known[code] for code in statement.items)


@cache
def protocol() -> Protocol:
    """The protocol that this release implements, read once a process."""
    return read(FILE.read_text(encoding="utf-8"))


def read(text: str) -> Protocol:
    """The protocol that `text` says.

    Raises ValueError naming the path (`sections[2].statements[0].text`) for an unknown or missing
    key, a value of another kind, a statement that is missing or stands twice, a reference or item
    that is not there.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from error
    return _table(Protocol, given, "")


def _table(kind: type[T], given: object, path: str) -> T:
    if not isinstance(given, dict):
        raise ValueError(f"{path}: must be a table")
    hints = get_type_hints(kind)
    prefix = f"{path}." if path else ""
    if unknown := sorted(set(given) - set(hints)):
        raise ValueError(f"{prefix}{unknown[0]}: unknown key")
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]  # always one of the dataclasses above
        if each.name in given:
            values[each.name] = _value(hints[each.name], given[each.name], prefix + each.name)
        elif each.default is MISSING:
            raise ValueError(f"{prefix}{each.name}: is required")
    return kind(**values)


def _value(kind: Any, value: object, path: str) -> object:
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        if not isinstance(value, list):
            raise ValueError(f"{path}: must be a list")
        return tuple(_value(inner, each, f"{path}[{number}]") for number, each in enumerate(value))
    if kind in (Source, Section, Statement, Item):
        return _table(kind, value, path)
    if kind is Confidence:
        if value not in set(Confidence):
            raise ValueError(f"{path}: must be one of {', '.join(Confidence)}")
        return Confidence(str(value))
    if type(value) is not kind:
        wanted = {str: "a text", int: "a whole number", bool: "true or false"}[kind]
        raise ValueError(f"{path}: must be {wanted}")
    return value


def _refuse_gaps(document: Protocol) -> None:
    """ValueError where the document is not told once and whole."""
    for name, codes in (
        ("sources", [str(source.number) for source in document.sources]),
        ("sections", [section.key for section in document.sections]),
        ("statements", [each.code for each in document.statements]),
        ("items", [item.code for item in document.items]),
    ):
        if twice := next(_twice(codes), None):
            raise ValueError(f"{name}: {twice} stands twice")
    told = {each.code for each in document.statements}
    if missing := [code for code in CODES if code not in told]:
        raise ValueError(f"statements: {missing[0]} is missing")
    if beyond := sorted(told - set(CODES)):
        raise ValueError(f"statements: {beyond[0]} is no statement of the protocol")
    numbers = {source.number for source in document.sources}
    items = {item.code for item in document.items}
    for item in document.items:
        if not _ITEM.fullmatch(item.code):
            raise ValueError(f"items: {item.code} is no D or X item")
    for each in document.statements:
        if unknown := sorted(set(each.references) - numbers):
            raise ValueError(f"{each.code}: there is no source {unknown[0]}")
        if lost := sorted(set(each.items) - items):
            raise ValueError(f"{each.code}: there is no item {lost[0]}")
    used = {code for each in document.statements for code in each.items}
    if idle := sorted(items - used):
        raise ValueError(f"items: {idle[0]} makes no statement executable")


def _twice(codes: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for code in codes:
        if code in seen:
            yield code
        seen.add(code)
