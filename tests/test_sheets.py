"""Files of people: what is read from them, what is refused and why, what is written."""

import io
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import tablib
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from openpyxl import Workbook

from tacroweb.sheets import CSV, FORMATS, MAX_BYTES, MAX_ROWS, XLSX, Sheet, read_sheet

COLUMNS = ("code", "source", "value", "enabled", "reviewed_on")


def read(content: bytes, *required: str) -> Sheet:
    file = SimpleUploadedFile("rows", content)
    return read_sheet(file, columns=COLUMNS, required=required or ("code",))


def refused(content: bytes) -> str:
    with pytest.raises(ValidationError) as error:
        read(content)
    return " ".join(error.value.messages)


def workbook(*rows: tuple[Any, ...], change: Callable[[Workbook], Any] | None = None) -> bytes:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    if change:
        change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def archive(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return out.getvalue()


def exported(kind: type[CSV] | type[XLSX], *rows: tuple[Any, ...]) -> bytes:
    dataset = tablib.Dataset(*rows, headers=list(COLUMNS))
    content = kind().export_data(dataset)
    return content.encode() if isinstance(content, str) else content


def test_rows_bear_the_numbers_that_a_spreadsheet_program_shows() -> None:
    sheet = read(b'\xef\xbb\xbfCode;Source\r\nA;"one\r\ntwo"\r\n\r\nB;three\r\n')
    assert sheet.headings == ("code", "source")
    assert sheet.rows == ((2, ("A", "one\ntwo")), (4, ("B", "three")))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_file_may_part_its_cells_by_comma_semicolon_or_tab(delimiter: str, end: str) -> None:
    text = end.join(delimiter.join(row) for row in (("code", "source"), ("A", " x "), ("B", "")))
    assert read(text.encode()).rows == ((2, ("A", "x")), (3, ("B", "")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The column code is missing"),
        (b"code\n", "no rows below its headings"),
        (b"code,colour,shape\nA,b,c", "no column 'colour' here. There is no column 'shape'"),
        (b"source\nA", "The column code is missing."),
        (b"code,source,code\nA,b,c", "The column code stands twice."),
        (b"code,,source\nA,b,c", "Column 2 has no heading."),
        (b"code,source\nA,b,c", "Row 2, column 3: has no heading."),
        (b"code,source\nA,x\nB,=1+1", "Row 3, column source: begins with = "),
        ("code,source\nA,\uff1d1+1".encode(), "Row 2, column source: begins with = "),
        (b'code\n"A', "Line 2 is not CSV"),
        ("code\nä".encode("latin-1"), "save it as XLSX or as “CSV UTF-8”"),
        ("code\nA".encode("utf-16"), "save it as XLSX or as “CSV UTF-8”"),
        (b"code\nA\x00", "not plain text"),
        (b"code\n" + b"a" * 10_001, "Row 2, column code: has more than 10,000 characters."),
        (b"code\n" + b"a" * 200_000, "Line 2 is not CSV: field larger than field limit"),
        (b"code\n" + b"a\n" * 1_001, "The file has more than 1,000 rows. Split it."),
        (b"code\n" + b"\n" * 5_001, "more than 5,000 empty rows"),
        (b",".join(b"c%d" % n for n in range(101)), "The file has more than 100 columns."),
        (b"PK\x03\x04 and no more", "damaged"),
        (archive({"readme.txt": b"hello"}), "no workbook"),
        (archive({"xl/workbook.xml": b"<a/>", "xl/vbaProject.bin": b"x"}), "macros"),
        (archive({"xl/workbook.xml": b"<workbook/>"}), "cannot be read"),
        (archive({f"{n}": b"" for n in range(501)}), "501 parts"),
    ],
)  # fmt: skip
def test_a_file_is_refused_with_the_reason_the_row_and_the_column(
    content: bytes, words: str
) -> None:
    assert words in refused(content)


def test_a_million_rows_are_counted_as_they_stream_and_never_read() -> None:
    with TemporaryUploadedFile("rows.csv", "text/csv", 0, None) as file:
        for _ in range(100):
            file.write(b"INT-AZOLE,a sentence\n" * 10_000)
        file.size = file.tell()
        whole = file.read

        def only_begin(size: int = -1) -> bytes:
            assert 0 < size <= 1 << 20, "the file was read whole"
            return whole(size)

        file.file.read = only_begin
        with pytest.raises(
            ValidationError, match=r"21,000 kB in 1,000,000 lines: at most 1,000 kB"
        ):
            read_sheet(file, columns=COLUMNS, required=())
    assert MAX_BYTES == 1_000_000
    assert MAX_ROWS == 1_000


def test_a_workbook_that_unpacks_to_gigabytes_is_refused_by_its_directory() -> None:
    bomb = archive({"xl/workbook.xml": b"x", "xl/worksheets/sheet1.xml": b"0" * 300_000_000})
    assert len(bomb) < MAX_BYTES
    assert "unpacks from" in refused(bomb)


def test_a_directory_that_lies_about_sizes_unpacks_nothing_more() -> None:
    honest = workbook(("code",), ("A",))
    with zipfile.ZipFile(io.BytesIO(honest)) as archived:
        part = archived.getinfo("xl/worksheets/sheet1.xml")
        size = part.file_size
    lie = honest.replace(size.to_bytes(4, "little"), (8).to_bytes(4, "little"))
    assert lie != honest
    assert "cannot be read" in refused(lie)


def test_an_entity_bomb_in_a_workbook_is_refused() -> None:
    with zipfile.ZipFile(io.BytesIO(workbook(("code",), ("A",)))) as archived:
        parts = {name: archived.read(name) for name in archived.namelist()}
    name = "xl/worksheets/sheet1.xml"
    bomb = b'<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + parts[name]
    parts[name] = bomb.replace(b"<t>A</t>", b"<t>&b;</t>")
    assert parts[name] != bomb
    assert "cannot be read" in refused(archive(parts))


def test_a_formula_or_an_error_in_a_workbook_is_refused_by_row_and_column() -> None:
    told = refused(workbook(("code", "value"), ("A", 1), ("B", "=SUM(B2:B2)")))
    assert "Row 3, column value: holds a formula" in told
    errors = workbook(("code", "value"), ("A", "#REF!"))
    assert "Row 2, column value: holds the error #REF!" in refused(errors)


def test_a_workbook_has_one_sheet_and_keeps_to_its_columns() -> None:
    assert "has 2 sheets" in refused(workbook(("code",), change=lambda book: book.create_sheet()))
    wide = workbook(("code",), ("A",), change=lambda book: book.active.cell(3, 16_384, "z"))
    assert "16,384 columns wide" in refused(wide)
    far = workbook(("code",), ("A",), change=lambda book: book.active.cell(9_000, 1, "z"))
    assert "empty rows" in refused(far)
    assert "more than 1,000 rows" in refused(workbook(("code",), *[("A",)] * 1_001))


def test_numbers_days_and_flags_of_a_workbook_are_read_to_the_letter() -> None:
    sheet = read(
        workbook(
            COLUMNS,
            ("A", None, 0.1, True, date(2026, 11, 2)),
            ("B", 12, 0.000001, False, "02.11.2026"),
            ("C", " x ", 28.0, None, None),
            ("D", "y", 0.333333, "TRUE", None),
        )
    )
    assert [cells for _, cells in sheet.rows] == [
        ("A", "", "0.1", "true", "2026-11-02"),
        ("B", "12", "0.000001", "false", "02.11.2026"),
        ("C", "x", "28", "", ""),
        ("D", "y", "0.333333", "TRUE", ""),
    ]


RISKY = (
    "=HYPERLINK(1)", "+1 of two", "-avoid", "@SUM", "\uff1dA1", "'=quoted", "''", "' a", "- 5 mg",
)  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_no_cell_is_written_as_a_formula_and_all_come_back_as_they_were(kind: Any) -> None:
    rows = [(f"R{n}", text, Decimal("5.500000"), True, None) for n, text in enumerate(RISKY)]
    content = exported(kind, *rows)
    assert [cells[1] for _, cells in read(content).rows] == list(RISKY)
    assert {cells[2] for _, cells in read(content).rows} == {"5.5"}
    if kind is CSV:
        texts = [
            row["source"] for row in tablib.import_set(content.decode("utf-8-sig"), "csv").dict
        ]
        assert all(text[0] == "'" for text in texts)


def test_a_number_stays_a_number_a_negative_one_too() -> None:
    rows = (("A", "-5", Decimal("-3.000000"), False, date(2026, 1, 2)),)
    assert exported(CSV, *rows).splitlines()[1] == b"A,-5,-3,false,2026-01-02"
    sheet = read(exported(XLSX, *rows))
    assert sheet.rows == ((2, ("A", "-5", "-3", "false", "2026-01-02")),)
