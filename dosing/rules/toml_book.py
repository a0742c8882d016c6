"""A rule book as TOML, read strictly, written canonically: one array of tables a kind of row."""

import tomllib
from dataclasses import MISSING, fields
from datetime import date
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from dosing.rules.engine.rows import Row, Severity
from dosing.rules.engine.rulebook import RuleBook
from tacroweb.numbers import NumberError, format_decimal, parse_decimal

SEED = Path(__file__).parent / "seed"
_ESCAPED = {
    ord(sign): f"\\{letter}" for sign, letter in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)
}
_ESCAPED |= {code: f"\\u{code:04X}" for code in (*range(32), 127) if code not in _ESCAPED}


@cache
def delivered() -> tuple[RuleBook, ...]:
    """The rule books that come with this release, oldest first; read once a process."""
    return tuple(read(file.read_text(encoding="utf-8")) for file in sorted(SEED.glob("*.toml")))


def read(text: str) -> RuleBook:
    """The rule book that `text` says.

    Raises ValueError naming the path (`findings[2].severity`) for TOML that cannot be read, an
    unknown or missing key or table, a value of another kind, or rows that contradict one another.
    """
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not TOML: {error}") from error
    hints = get_type_hints(RuleBook)
    known = {each.name for each in fields(RuleBook) if each.init}
    if unknown := sorted(set(tables) - known):
        raise ValueError(f"{unknown[0]}: unknown table or key")
    given: dict[str, Any] = {}
    for name in sorted(known):
        row_class = get_args(hints[name])[:1]
        if not row_class:
            if not isinstance(tables.get(name), str) or not tables[name]:
                raise ValueError(f"{name}: a text is required")
            given[name] = tables[name]
            continue
        rows = tables.get(name, [])
        if not isinstance(rows, list):
            raise ValueError(f"{name}: must be an array of tables, [[{name}]]")
        of_row = get_type_hints(row_class[0])
        given[name] = tuple(
            _row(row_class[0], of_row, row, f"{name}[{number}]") for number, row in enumerate(rows)
        )
    return RuleBook(**given)


def write(book: RuleBook) -> str:
    """The canonical text of a book: equal books give equal texts, and `read` gives the book back.

    Tables in the engine's order, rows in the book's, keys in the row's; what is as by default is
    left out.
    """
    lines = [f"version = {_written(book.version)}", f"title = {_written(book.title)}"]
    for name, rows in book.tables().items():
        for row in rows:
            lines += ["", f"[[{name}]]"]
            for each in fields(row):
                if (value := getattr(row, each.name)) != each.default:
                    lines.append(f"{each.name} = {_written(value)}")
    return "\n".join(lines) + "\n"


def _written(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Severity():
            return f'"{value.name}"'
        case Decimal():
            return f'"{format_decimal(value)}"'
        case tuple():
            return f"[{', '.join(map(_written, value))}]"
        case date() | int():
            return str(value)
    return f'"{str(value).translate(_ESCAPED)}"'


def _row(row_class: type[Row], hints: dict[str, Any], row: object, path: str) -> Row:
    if not isinstance(row, dict):
        raise ValueError(f"{path}: must be a table")
    if unknown := sorted(set(row) - set(hints)):
        raise ValueError(f"{path}.{unknown[0]}: unknown key")
    given: dict[str, Any] = {}
    for each in fields(row_class):
        if each.name in row:
            given[each.name] = _value(hints[each.name], row[each.name], f"{path}.{each.name}")
        elif each.default is MISSING:
            raise ValueError(f"{path}.{each.name}: is required")
    return row_class(**given)


def _value(kind: Any, value: object, path: str) -> object:
    if get_origin(kind) is UnionType:  # "Decimal | None": absent is None, and null is not TOML
        kind = next(each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"{path}: must be a list of texts")
        return tuple(value)
    if kind is Severity:
        if value not in Severity.__members__:
            raise ValueError(f"{path}: must be one of {', '.join(Severity.__members__)}")
        return Severity[str(value)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(str(each.value) for each in kind)
            raise ValueError(f"{path}: must be one of {names}") from None
    if kind is Decimal:
        if not isinstance(value, str):
            raise ValueError(f'{path}: must be a number in quotes, such as "0.075"')
        try:
            # Without idle zeros, as the tables give it back: "5.0" and "5" are one number.
            return Decimal(format_decimal(parse_decimal(value)))
        except NumberError as error:
            raise ValueError(f"{path}: {error}") from error
    if type(value) is not kind:
        wanted = {
            str: "a text",
            int: "a whole number",
            bool: "true or false",
            date: "a day such as 2026-03-02, without quotes",
        }[kind]
        raise ValueError(f"{path}: must be {wanted}")
    return value
