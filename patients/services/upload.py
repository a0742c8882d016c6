"""Results from a CSV file: what each row will do, and doing it, all or nothing."""

import csv
import io
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from django.core.exceptions import PermissionDenied, ValidationError

from patients.models import Analyte, Observation, Patient
from patients.selectors import TACROLIMUS_LEVEL, analytes_by_name, patients_of
from tacroweb.accounts.models import Clinic
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.fields import read_decimal, read_instant
from tacroweb.refusals import Refusal

from .facts import hold_facts, open_facts
from .results import Result, checked

COLUMNS = ("mrn", "analyte", "value", "unit", "drawn_at", "hours_since_dose")
MAX_BYTES = 1_000_000
MAX_ROWS = 1_000  # each row is written, versioned and digested: some seconds in all
ADD, THERE, ERROR = "ADD", "THERE", "ERROR"


class ImportRefused(Refusal):
    """Nothing of a file was taken, because at least one of its rows is wrong."""

    code = "import_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """One row of the file: what it says and what happens with it (`ADD`, `THERE` or `ERROR`)."""

    line: int
    cells: dict[str, str]
    outcome: str
    note: str = ""
    observation: Observation | None = None

    @property
    def shown(self) -> list[str]:
        """The cells in the order of `COLUMNS`."""
        return [self.cells.get(name, "") for name in COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What a file will do, row by row. It can be carried out when no row is wrong."""

    rows: tuple[PlannedRow, ...]

    def count(self, outcome: str) -> int:
        return sum(row.outcome == outcome for row in self.rows)

    @property
    def to_add(self) -> int:
        return self.count(ADD)

    @property
    def already_there(self) -> int:
        return self.count(THERE)

    @property
    def wrong(self) -> int:
        return self.count(ERROR)


def read_file(content: bytes) -> str:
    """The text of an uploaded file. Raises `ValidationError` if it is no UTF-8 text, or too big."""
    if len(content) > MAX_BYTES:
        raise ValidationError(f"The file is larger than {MAX_BYTES // 1000} kB. Split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(
            "The file is not UTF-8 text. In a spreadsheet, save it as “CSV UTF-8”."
        ) from error
    if "\x00" in text:
        raise ValidationError("The file is not plain text. Save it as “CSV UTF-8”.")
    return text


def read_rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV text with their line numbers; comma, semicolon or tab between the cells.

    Raises `ValidationError` for a header that is not the one expected, too many rows, or a row that
    has more cells than the header.
    """
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        names = ["analyte" if name == "loinc" else name for name in map(_heading, next(reader, []))]
        missing = [name for name in COLUMNS[:-1] if name not in names]
        unknown = [name for name in names if name not in COLUMNS]
        if missing or unknown or len(set(names)) != len(names):
            raise ValidationError(
                f"The first line must name the columns {', '.join(COLUMNS)}, each once "
                "(hours_since_dose may be left out; loinc may stand for analyte)."
                + (f" Missing: {', '.join(missing)}." if missing else "")
                + (f" Not known: {', '.join(unknown)}." if unknown else "")
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(names):
                raise ValidationError(
                    f"Line {reader.line_num} has {len(cells)} cells, the header {len(names)}."
                )
            rows.append((reader.line_num, dict(zip(names, map(str.strip, cells), strict=False))))
            if len(rows) > MAX_ROWS:
                raise ValidationError(f"The file has more than {MAX_ROWS:,} rows. Split it.")
    except csv.Error as error:
        raise ValidationError(f"Line {reader.line_num} is not CSV: {error}.") from error
    if not rows:
        raise ValidationError("The file has no rows below its header.")
    return rows


def plan_import(clinic: Clinic, text: str, *, at: datetime) -> ImportPlan:
    """What the file would do now, row by row. Reads only; a handful of queries for any file.

    A row is already there when the same value of the same draw is on record, even if it has been
    corrected or withdrawn since: a file never brings back what a person took out. Raises
    `ValidationError` when the file as a whole cannot be read.
    """
    rows = read_rows(text)
    mrns = {cells["mrn"] for _, cells in rows if cells.get("mrn")}
    found = patients_of(clinic).select_related("clinic").filter(mrn__in=mrns)
    patients = {patient.mrn: patient for patient in found}
    analytes = analytes_by_name()
    planned = [
        _planned(line, cells, patients=patients, analytes=analytes, clinic=clinic, at=at)
        for line, cells in rows
    ]
    times = [row.observation.drawn_at for row in planned if row.observation]
    seen: Counter[tuple[object, ...]] = Counter()
    draws: dict[tuple[object, ...], str] = {}
    if times:
        on_record = Observation.objects.filter(
            patient__in=patients.values(), drawn_at__range=(min(times), max(times))
        )
        for known in on_record.order_by("id"):
            seen[_identity(known)] += 1
            if not known.withdrawn:
                draws[_draw(known)] = f"{known.entered} {known.unit_entered}"
    return ImportPlan(rows=tuple(_settled(row, seen, draws) for row in planned))


@service("Results imported")
def import_results(*, clinic: Clinic, text: str, at: datetime, by: Signature) -> ImportPlan:
    """Carry out what the file says, all or nothing, as one act; the same file twice adds nothing.

    It is planned anew under the lock of the patients' facts, so that a result entered since the
    preview is not added again. Raises `ImportRefused` when a row is wrong, `ValidationError` when
    the file cannot be read, `PermissionDenied` for another clinic.
    """
    if clinic.pk != by.clinic_id:
        raise PermissionDenied("Results are imported at one's own clinic.")
    mrns = {cells.get("mrn", "") for _, cells in read_rows(text)}
    hold_facts(patients_of(clinic).filter(mrn__in=mrns), by=by)
    plan = plan_import(clinic, text, at=at)
    if plan.wrong:
        first = next(row for row in plan.rows if row.outcome == ERROR)
        raise ImportRefused(
            f"Nothing was added: {plan.wrong} of {len(plan.rows)} rows are wrong. "
            f"Line {first.line}: {first.note}"
        )
    added = [row.observation for row in plan.rows if row.outcome == ADD and row.observation]
    open_facts({row.patient for row in added}, by=by)
    for row in added:
        row.sign(by).save()
    return plan


def _heading(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_")


def _planned(
    line: int,
    cells: dict[str, str],
    *,
    patients: dict[str, Patient],
    analytes: dict[str, Analyte],
    clinic: Clinic,
    at: datetime,
) -> PlannedRow:
    problems = []
    patient = patients.get(cells.get("mrn", ""))
    analyte = analytes.get(cells.get("analyte", "").casefold())
    if patient is None:
        problems.append("No patient of this clinic has this MRN.")
    if analyte is None:
        problems.append("The analyte is not known: give its key or LOINC code.")
    hours = drawn_at = None
    try:
        drawn_at = read_instant(cells.get("drawn_at", ""), zone=clinic.zone)
    except ValidationError as error:
        problems += error.messages
    try:
        if cells.get("hours_since_dose"):
            hours = read_decimal(cells["hours_since_dose"])
    except ValidationError as error:
        problems += error.messages
    observation = None
    if patient and analyte and drawn_at and not problems:
        result = Result(
            analyte=analyte,
            entered=cells.get("value", ""),
            unit=cells.get("unit", ""),
            drawn_at=drawn_at,
            hours_since_dose=hours,
        )
        try:
            observation = checked(patient, result, at=at)
            observation.clean_fields(exclude=["patient", "analyte"])
        except ValidationError as error:
            problems += error.messages
    if problems:
        return PlannedRow(line=line, cells=cells, outcome=ERROR, note=" ".join(problems))
    unknown_hours = analyte and analyte.key == TACROLIMUS_LEVEL and hours is None
    note = "Hours since the dose not known: no dose is proposed from it." if unknown_hours else ""
    return PlannedRow(line=line, cells=cells, outcome=ADD, note=note, observation=observation)


def _identity(row: Observation) -> tuple[object, ...]:
    return (*_draw(row), row.comparator, row.value)


def _draw(row: Observation) -> tuple[object, ...]:
    return (row.patient_id, row.analyte_id, row.drawn_at)


def _settled(
    row: PlannedRow, seen: Counter[tuple[object, ...]], draws: dict[tuple[object, ...], str]
) -> PlannedRow:
    if row.observation is None:
        return row
    identity, draw = _identity(row.observation), _draw(row.observation)
    if seen[identity]:
        return replace(row, outcome=THERE, note="On record, or in the file above.")
    seen[identity] += 1
    other = draws.setdefault(draw, row.observation.entered)
    if other != row.observation.entered:
        note = f"{row.note} Another value of the same time is recorded: {other}.".strip()
        return replace(row, note=note)
    return row
