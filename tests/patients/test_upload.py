"""Results from a CSV file: said row by row, all or nothing, and never twice."""

from datetime import date

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from patients.models import FactsVersion, Observation, Patient
from patients.selectors import current_observations, facts_number
from patients.services import (
    ImportRefused,
    correct_observation,
    import_results,
    record_observation,
    withdraw_observation,
)
from patients.services.upload import ADD, ERROR, MAX_BYTES, MAX_ROWS, THERE, plan_import, read_file
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.accounts.services import grant_role
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature
from tests.factories import NOW, a_clinic, a_patient, by_system

HEADER = "mrn,analyte,value,unit,drawn_at,hours_since_dose\n"


def lines(patient: Patient, *rows: str) -> str:
    return HEADER + "".join(f"{patient.mrn},{row}\n" for row in rows)


def two(patient: Patient) -> str:
    return lines(
        patient,
        "tacrolimus-trough,7.0,ng/mL,2026-03-01 08:00,12",
        "2823-3,4.2,mmol/L,2026-03-01T08:00:00+01:00,",
    )


def outcomes(clinic: Clinic, text: str) -> list[str]:
    return [row.outcome for row in plan_import(clinic, text, at=NOW).rows]


def test_the_same_file_twice_adds_nothing(patient: Patient, by: Signature) -> None:
    entries = LedgerEntry.objects.count()
    done = import_results(clinic=patient.clinic, text=two(patient), at=NOW, by=by)
    assert (done.to_add, done.already_there) == (2, 0)
    assert LedgerEntry.objects.count() == entries + 1
    before = facts_number(patient)
    again = import_results(clinic=patient.clinic, text=two(patient), at=NOW, by=by)
    assert (again.to_add, again.already_there) == (0, 2)
    assert facts_number(patient) == before
    assert LedgerEntry.objects.count() == entries + 1
    rows = current_observations(patient)
    assert {(row.analyte.key, row.entered) for row in rows} == {
        ("tacrolimus-trough", "7.0"),
        ("potassium", "4.2"),
    }
    assert {row.drawn_at.isoformat() for row in rows} == {"2026-03-01T07:00:00+00:00"}


def test_a_file_does_not_bring_back_what_was_corrected_or_withdrawn(
    patient: Patient, by: Signature
) -> None:
    import_results(clinic=patient.clinic, text=two(patient), at=NOW, by=by)
    level = current_observations(patient).get(analyte__key="tacrolimus-trough")
    potassium = current_observations(patient).get(analyte__key="potassium")
    withdraw_observation(observation=potassium, at=NOW, by=by)
    correct_observation(
        observation=level, entered="9", unit="ng/mL", drawn_at=level.drawn_at, at=NOW, by=by
    )
    assert outcomes(patient.clinic, two(patient)) == [THERE, THERE]


def test_a_result_entered_after_the_preview_is_not_added_again(
    patient: Patient, by: Signature
) -> None:
    text = two(patient)
    planned = plan_import(patient.clinic, text, at=NOW)
    row = planned.rows[0].observation
    record_observation(
        patient=patient,
        analyte=row.analyte,
        entered="7",
        unit="ug/L",
        drawn_at=row.drawn_at,
        at=NOW,
        by=by,
    )
    done = import_results(clinic=patient.clinic, text=text, at=NOW, by=by)
    assert (done.to_add, done.already_there) == (1, 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("nonsense,4.2,mmol/L,2026-03-01 08:00,", "analyte is not known"),
        ("potassium,4_2,mmol/L,2026-03-01 08:00,", "without grouping"),
        ('potassium,"4,2",mmol/L,2026-03-01 08:00,', "Write 4.2 with a point"),
        ("potassium,=1+1,mmol/L,2026-03-01 08:00,", "as a number"),
        ("potassium,４.2,mmol/L,2026-03-01 08:00,", "digits 0 to 9"),
        ("potassium,,mmol/L,2026-03-01 08:00,", "as a number"),
        ("potassium,4.2,,2026-03-01 08:00,", "Accepted: mmol/L"),
        ("potassium,4.2,mg/L,2026-03-01 08:00,", "Accepted: mmol/L"),
        ("weight,700,kg,2026-03-01 08:00,", "not plausible"),
        ("potassium,4.2,mmol/L,01.03.2026,", "Write the day and time"),
        ("potassium,4.2,mmol/L,2026-02-30 08:00,", "no such day"),
        ("potassium,4.2,mmol/L,2026-03-29 02:30,", "2026-03-29"),
        ("potassium,4.2,mmol/L,2027-03-01 08:00,", "in the future"),
        ("potassium,4.2,mmol/L,1960-03-01 08:00,", "before the patient was born"),
        ("tacrolimus-trough,7,ng/mL,2026-03-01 08:00,twelve", "as a number"),
        ("tacrolimus-trough,7,ng/mL,2026-03-01 08:00,999", "240"),
    ],
)
def test_one_wrong_row_stops_the_file_and_says_why(
    row: str, words: str, patient: Patient, by: Signature
) -> None:
    text = two(patient) + f"{patient.mrn},{row}\n"
    planned = plan_import(patient.clinic, text, at=NOW)
    assert [line.outcome for line in planned.rows] == [ADD, ADD, ERROR]
    assert words in planned.rows[2].note
    before = FactsVersion.objects.get(patient=patient).number
    with pytest.raises(ImportRefused, match="Line 4"):
        import_results(clinic=patient.clinic, text=text, at=NOW, by=by)
    assert not Observation.objects.exists()
    assert FactsVersion.objects.get(patient=patient).number == before


def test_a_patient_of_another_clinic_is_as_unknown_as_none(
    patient: Patient, stranger: Patient
) -> None:
    text = lines(stranger, "potassium,4.2,mmol/L,2026-03-01 08:00,")
    planned = plan_import(patient.clinic, text, at=NOW)
    assert planned.rows[0].note == "No patient of this clinic has this MRN."


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_may_use_comma_semicolon_or_tab_and_bear_a_mark(
    delimiter: str, patient: Patient
) -> None:
    content = two(patient).replace(",", delimiter).replace("\n", "\r\n")
    text = read_file(b"\xef\xbb\xbf" + content.encode())
    assert outcomes(patient.clinic, text) == [ADD, ADD]


def test_headers_may_stand_in_any_order_and_name_the_loinc(patient: Patient) -> None:
    text = f"Value,Unit,LOINC,MRN,Drawn at\n4.2,mmol/L,2823-3,{patient.mrn},2026-03-01 08:00\n\n"
    assert outcomes(patient.clinic, text) == [ADD]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must name the columns"),
        ("mrn,analyte,value,unit\n1,2,3,4\n", "Missing: drawn_at"),
        (HEADER.replace("unit", "unit,name"), "Not known: name"),
        (HEADER.replace("unit", "unit,unit"), "each once"),
        (HEADER, "no rows"),
        (HEADER + "1,potassium,4.2,mmol/L,2026-03-01 08:00,,more\n", "Line 2 has 7 cells"),
        (HEADER + '1,"potassium,4.2\n', "is not CSV"),
        (HEADER + "1,potassium,4.2,mmol/L,2026-03-01 08:00,\n" * (MAX_ROWS + 1), "more than"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(text: str, words: str, patient: Patient) -> None:
    with pytest.raises(ValidationError, match=words):
        plan_import(patient.clinic, text, at=NOW)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,potassium,80,µmol/L".encode("latin-1"), "not UTF-8"),
        ("mrn".encode("utf-16"), "not UTF-8"),
        (b"mrn\x00", "not plain text"),
        (b"m" * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_bytes_that_are_no_plain_text_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read_file(content)


def test_rows_that_repeat_each_other_or_differ_are_said_so(patient: Patient) -> None:
    row = "creatinine,1.0,mg/dL,2026-03-01 08:00,"
    text = lines(
        patient, row, row, row.replace("1.0,mg/dL", "88.4,umol/L"), row.replace("1.0", "1.4")
    )
    planned = plan_import(patient.clinic, text, at=NOW)
    assert [line.outcome for line in planned.rows] == [ADD, THERE, THERE, ADD]
    assert "Another value of the same time" in planned.rows[3].note


def test_a_level_without_hours_is_taken_and_said_to_be_of_little_use(patient: Patient) -> None:
    text = lines(patient, "tacrolimus-trough,7.0,ng/mL,2026-03-01 08:00,")
    assert "not known" in plan_import(patient.clinic, text, at=NOW).rows[0].note


def test_planning_costs_the_same_for_any_number_of_rows(patient: Patient) -> None:
    counts = []
    for many in (1, 40):
        rows = [f"potassium,4.{n},mmol/L,2026-03-01 08:{n:02},1" for n in range(many)]
        with CaptureQueriesContext(connection) as seen:
            plan_import(patient.clinic, lines(patient, *rows), at=NOW)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 5


def test_one_file_may_hold_several_patients(patient: Patient, by: Signature) -> None:
    other = a_patient(patient.clinic, weight_kg=None)
    text = two(patient) + two(other).removeprefix(HEADER)
    import_results(clinic=patient.clinic, text=text, at=NOW, by=by)
    assert current_observations(other).count() == current_observations(patient).count() == 2


def send(page: Client, text: str) -> object:
    return page.post(
        reverse("patients:upload"),
        {"file": SimpleUploadedFile("results.csv", text.encode(), "text/csv")},
        follow=True,
    )


def test_a_person_uploads_looks_and_confirms(page: Client, patient: Patient) -> None:
    assert page.get(reverse("patients:upload")).status_code == 200
    preview = send(page, two(patient))
    assert "2 results will be added" in preview.content.decode()
    assert not Observation.objects.exists()
    address = reverse("patients:upload-preview")
    wrong = page.post(address, {"digest": "of another file"}, follow=True)
    assert b"Another file has been chosen" in wrong.content
    assert not Observation.objects.exists()
    done = page.post(address, {"digest": preview.context["digest"]}, follow=True)
    assert b"2 results added; 0 were on record already." in done.content
    assert Observation.objects.count() == 2
    assert page.get(address).url == reverse("patients:upload")
    assert b"Every row is on record already" in send(page, two(patient)).content


def test_a_file_seen_at_one_clinic_is_not_carried_out_at_another(
    page: Client, patient: Patient
) -> None:
    south = a_clinic("South")
    a_patient(south, mrn=patient.mrn, weight_kg=None)
    person = User.objects.get(pk=page.session["_auth_user_id"])
    grant_role(
        user=person, clinic=south, role=Role.NURSE, from_on=date(2020, 1, 1), by=by_system(south)
    )
    preview = send(page, two(patient))
    page.post(reverse("switch-clinic"), {"clinic": south.pk})
    address = reverse("patients:upload-preview")
    refused = page.post(address, {"digest": preview.context["digest"]}, follow=True)
    assert b"or another clinic" in refused.content
    assert not Observation.objects.exists()


def test_a_file_with_a_wrong_row_cannot_be_confirmed(page: Client, patient: Patient) -> None:
    text = two(patient) + f'{patient.mrn},"=HYPERLINK(""x"")<b>",4.2,mmol/L,2026-03-01 08:00,\n'
    preview = send(page, text)
    shown = preview.content.decode()
    assert "1 of 3 rows is wrong" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown.split("</thead>")[1].split("</table>")[0]
    address = reverse("patients:upload-preview")
    refused = page.post(address, {"digest": preview.context["digest"]}, follow=True)
    assert b"Nothing was added" in refused.content
    assert not Observation.objects.exists()


@pytest.mark.parametrize("content", ["", "mrn,value\n1,2\n"])
def test_a_file_that_is_no_result_file_goes_no_further(content: str, page: Client) -> None:
    answer = send(page, content)
    assert answer.status_code == 200
    assert "file" in answer.context["form"].errors or answer.context["form"].non_field_errors()
