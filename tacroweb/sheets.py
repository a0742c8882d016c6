"""Tables as files, to and from people: CSV and XLSX, read with suspicion, written without formulas.

A text that a spreadsheet program would take for a formula is written with an apostrophe before it,
and that apostrophe is taken off again when the file comes back, so that a table that is exported
and imported unchanged changes nothing. A number stays a number, a negative one too.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from import_export.formats import base_formats
from openpyxl import Workbook, load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from tacroweb.numbers import format_decimal

MAX_BYTES = 1_000_000
MAX_ROWS = 1_000  # each row is written, versioned and digested: some seconds in all
MAX_COLUMNS = 100
MAX_CELL = 10_000  # characters
MAX_TEXT = 2_000_000  # bytes of all cells together
MAX_UNPACKED = 10_000_000  # bytes of a workbook
MAX_RATIO = 200  # an ordinary workbook unpacks to 5 to 20 times its size
MAX_PARTS = 500  # files in a workbook
MAX_BLANK = 5_000  # empty rows, which a spreadsheet program may keep below the last one
SHOWN = 10  # of the faults of one file

_FORMULA = ("=", "\uff1d")  # full-width too
_RISKY = (*_FORMULA, "+", "-", "@", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table as it stands in a file: one text a heading and row.

    A row comes with the number that a spreadsheet program shows beside it; the headings are row 1.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_sheet(
    file: "UploadedFile[Any]", *, columns: Collection[str], required: Collection[str]
) -> Sheet:
    """The one table of an uploaded CSV or XLSX file.

    Raises `ValidationError` for a file that is too big in any way (told from its size, its
    directory or while its rows stream by, never by reading it whole), that is neither CSV in UTF-8
    nor a workbook of one sheet, whose headings name a column that is not among `columns` or leave
    out one of `required`, or that holds a formula; row and column are named.
    """
    is_workbook = _begins_with(file, b"PK\x03\x04")
    if (file.size or 0) > MAX_BYTES:
        raise ValidationError(_too_big(file, counted=not is_workbook))
    try:
        cells = _workbook_rows(file) if is_workbook else _csv_rows(file)
        return _read(cells, columns, required)
    finally:
        file.seek(0)


def _read(
    rows: Iterator[tuple[int, Sequence[Any]]], columns: Collection[str], required: Collection[str]
) -> Sheet:
    _, first = next(rows, (1, ()))
    headings = [_heading(cell) for cell in first]
    while headings and not headings[-1]:
        headings.pop()
    _check_headings(headings, columns, required)
    found: list[tuple[int, tuple[str, ...]]] = []
    faults: list[str] = []
    blank = size = 0
    for number, cells in rows:
        texts = [_Cell.of(cell) for cell in cells]
        if not any(cell.text for cell in texts):
            blank += 1
            if blank > MAX_BLANK:
                raise ValidationError(
                    f"The file has more than {MAX_BLANK:,} empty rows. Delete them."
                )
            continue
        if len(found) == MAX_ROWS:
            raise ValidationError(f"The file has more than {MAX_ROWS:,} rows. Split it.")
        for place, cell in enumerate(texts):
            name = headings[place] if place < len(headings) else ""
            if fault := cell.fault or ("" if name or not cell.text else "has no heading"):
                faults.append(f"Row {number}, column {name or place + 1}: {fault}.")
        if len(faults) >= SHOWN:
            break
        row = tuple(cell.text for cell in texts[: len(headings)])
        size += sum(len(text.encode()) for text in row)
        if size > MAX_TEXT:
            raise ValidationError(
                f"The file holds more than {MAX_TEXT // 1_000_000} MB of text. Split it."
            )
        found.append((number, row + ("",) * (len(headings) - len(row))))
    if faults:
        raise ValidationError(faults[:SHOWN])
    if not found:
        raise ValidationError("The file has no rows below its headings.")
    return Sheet(headings=tuple(headings), rows=tuple(found))


def _check_headings(
    headings: list[str], columns: Collection[str], required: Collection[str]
) -> None:
    faults = [
        f"The file has more than {MAX_COLUMNS} columns."
        if len(headings) > MAX_COLUMNS
        else f"Column {place} has no heading."
        for place, name in enumerate(headings[: MAX_COLUMNS + 1], 1)
        if not name or place > MAX_COLUMNS
    ]
    faults += [
        f"There is no column {name!r} here."
        for name in dict.fromkeys(headings)
        if name and name not in columns
    ]
    faults += [
        f"The column {name} stands twice."
        for name, times in Counter(headings).items()
        if times > 1 and name in columns
    ]
    faults += [f"The column {name} is missing." for name in required if name not in headings]
    if faults:
        raise ValidationError([*faults[:SHOWN], f"The columns are {', '.join(columns)}."])


@dataclass(frozen=True, slots=True)
class _Cell:
    """The text of one cell, and what is wrong with it."""

    text: str
    fault: str = ""

    @classmethod
    def of(cls, value: Any) -> "_Cell":
        if isinstance(value, cls):
            return value
        text = _text(value)
        if text.startswith(_FORMULA):
            return cls(text, "begins with = and would be a formula; only values are taken")
        if text.startswith("'") and text[1:].lstrip().startswith((*_RISKY, "'")):
            text = text[1:]
        if len(text) > MAX_CELL:
            return cls(text, f"has more than {MAX_CELL:,} characters")
        return cls(text)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            try:
                return format_decimal(Decimal(repr(value)))
            except ValueError:
                return repr(value)
        case datetime() if value.time() == time(0):
            return value.date().isoformat()
        case date():
            return value.isoformat()
    return str(value).replace("\r\n", "\n").replace("\r", "\n").strip()


def _heading(cell: Any) -> str:
    return _Cell.of(cell).text.lower().replace(" ", "_")


def _begins_with(file: "UploadedFile[Any]", sign: bytes) -> bool:
    file.seek(0)
    begins: bool = file.read(len(sign)) == sign
    file.seek(0)
    return begins


def _too_big(file: "UploadedFile[Any]", *, counted: bool) -> str:
    lines = sum(chunk.count(b"\n") for chunk in file.chunks()) if counted else 0
    file.seek(0)
    told = f" in {lines:,} lines" if lines > MAX_ROWS else ""
    return (
        f"The file has {(file.size or 0) // 1_000:,} kB{told}: at most {MAX_BYTES // 1_000:,} kB "
        f"and {MAX_ROWS:,} rows are taken at once. Split it."
    )


def _csv_rows(file: "UploadedFile[Any]") -> Iterator[tuple[int, Sequence[Any]]]:
    """The records of a CSV file, numbered as a spreadsheet program numbers them."""
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(
            "The file is neither a workbook (XLSX) nor text in UTF-8. In a spreadsheet program, "
            "save it as XLSX or as “CSV UTF-8”."
        ) from error
    if "\x00" in text:
        raise ValidationError("The file is not plain text. Save it as “CSV UTF-8”.")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from enumerate(reader, 1)
    except csv.Error as error:
        raise ValidationError(f"Line {reader.line_num} is not CSV: {error}.") from error


def _workbook_rows(file: "UploadedFile[Any]") -> Iterator[tuple[int, Sequence[Any]]]:
    """The rows of a workbook's one sheet, as they stream by. A formula is a fault of its cell."""
    _check_archive(file)
    try:
        book = load_workbook(_bytes(file), read_only=True, keep_links=False)
        if len(book.sheetnames) != 1 or len(book.worksheets) != 1:
            raise ValidationError(
                f"The workbook has {len(book.sheetnames)} sheets: keep only the one to import."
            )
        sheet = book.worksheets[0]
        if (sheet.max_column or 0) > MAX_COLUMNS:
            raise ValidationError(
                f"The sheet is {sheet.max_column:,} columns wide: at most {MAX_COLUMNS}."
            )
        for number, row in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS + 1), 1):
            yield number, [_workbook_cell(cell) for cell in row]
    except ValidationError:
        raise
    except (
        # What the reader of workbooks is known to end with on what is none; entities, which could
        # unfold without end, are a ValueError of their own.
        ArithmeticError, AttributeError, BadZipFile, EOFError, InvalidFileException, LookupError,
        OSError, SyntaxError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise ValidationError(
            "The workbook cannot be read. Save it anew as XLSX, without a password."
        ) from error


def _bytes(file: "UploadedFile[Any]") -> IO[bytes]:
    if file.file is None:
        raise ValueError("an upload without a file")
    return file.file


def _workbook_cell(cell: Any) -> _Cell:
    if cell.data_type == "f":
        return _Cell("=", "holds a formula; only values are taken")
    if cell.data_type == "e":
        return _Cell(str(cell.value), f"holds the error {cell.value}")
    return _Cell.of(cell.value)


def _check_archive(file: "UploadedFile[Any]") -> None:
    """Judge a workbook by the directory of its parts, before any of them is unpacked.

    The directory cannot lie about sizes: nobody unpacks more of a part than it says there.
    """
    try:
        with ZipFile(_bytes(file)) as archive:
            parts = archive.infolist()
    except (BadZipFile, OSError, ValueError) as error:
        raise ValidationError("The file is damaged: it cannot be unpacked.") from error
    unpacked = sum(part.file_size for part in parts)
    packed = max(1, file.size or 0)
    names = {part.filename for part in parts}
    if unpacked > MAX_UNPACKED or unpacked > MAX_RATIO * packed:
        raise ValidationError(
            f"The workbook unpacks from {packed:,} to {unpacked:,} bytes: at most "
            f"{MAX_UNPACKED:,} bytes, and {MAX_RATIO} times its size, are taken."
        )
    if len(parts) > MAX_PARTS:
        raise ValidationError(f"The workbook has {len(parts):,} parts: at most {MAX_PARTS}.")
    if "xl/workbook.xml" not in names:
        raise ValidationError("The file is an archive but no workbook (XLSX).")
    if "xl/vbaProject.bin" in names:
        raise ValidationError("The workbook has macros. Save it as XLSX without them.")


def written(value: Any) -> Any:
    """What a cell of a file says for a value of a table: numbers, days and flags as such."""
    match value:
        case None:
            return ""
        case bool() | date() | int():
            return value
        case Decimal():
            return Decimal(format_decimal(value))
    text = str(value)
    plain = text.lstrip()
    if _NUMBER.fullmatch(plain):
        return text
    risky = plain.startswith((*_RISKY, "'")) or text[:1] in ("\t", "\r", "\n")
    return f"'{text}" if risky else text


class CSV(base_formats.CSV):
    """CSV for people: UTF-8 with the mark that spreadsheet programs look for."""

    def get_content_type(self) -> str:
        return "text/csv; charset=utf-8"

    def export_data(self, dataset: Any, **kwargs: Any) -> str:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(dataset.headers)
        writer.writerows([_csv_text(written(value)) for value in row] for row in dataset)
        return f"\ufeff{out.getvalue()}"


class XLSX(base_formats.XLSX):
    """A workbook of one sheet in which no cell is a formula."""

    def export_data(self, dataset: Any, **kwargs: Any) -> bytes:
        book = Workbook(write_only=True)
        sheet = book.create_sheet("Rows")
        sheet.freeze_panes = "B2"
        for row in (dataset.headers, *dataset):
            sheet.append([None if value == "" else value for value in map(written, row)])
        out = io.BytesIO()
        book.save(out)
        return out.getvalue()


FORMATS: Sequence[Callable[[], Any]] = (CSV, XLSX)


def _csv_text(value: Any) -> str:
    return _text(value) if isinstance(value, bool | date) else str(value)


def sheet_of(headings: Iterable[str], rows: Iterable[tuple[int, Iterable[str]]]) -> Sheet:
    """A sheet from what `Sheet` was taken apart to, such as JSON."""
    return Sheet(
        headings=tuple(headings), rows=tuple((number, tuple(cells)) for number, cells in rows)
    )
