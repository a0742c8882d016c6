"""Server time and queries of the worklist and the chart, beside the sign-in page of the same run.

On an SQLite database of its own: the chart with 10 and with 1,000 observations, the worklist
with 20 and with 20,000 patients, of whom one in ten is on tacrolimus with a proposal stored and the
tests of the whole calendar due. Prints one line a page; exit 1 when a count of queries grows or
misses its limit.
"""

import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

ROUNDS = 15
CHART_QUERIES, HOME_QUERIES = 20, 12
FEW, MANY = 20, 20_000
CHUNK = 1_000


def main() -> int:
    """Make the data, look at the pages, print the figures."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    from django.test import Client

    from tacroweb.accounts.roles import Role
    from tests.factories import a_clinic, a_person

    call_command("seed_vocabulary", verbosity=0)
    call_command("seed_rules", verbosity=0)
    clinic = a_clinic()
    client = Client()
    client.force_login(a_person(clinic, Role.PRESCRIBER))

    short, long = with_levels(clinic, 10), with_levels(clinic, 1_000)
    stranger = Client()
    yardstick, _ = measured(lambda: stranger.get("/sign-in/"))
    print(f"sign-in page: {yardstick * 1000:.1f} ms, the yardstick")
    charts = [
        report(f"chart, {count:,} observations", client, f"/patients/{public_id}/", yardstick)
        for count, public_id in ((10, short), (1_000, long))
    ]
    homes = []
    there = 2
    for patients in (FEW, MANY):
        fill(clinic, patients - there, like=short)
        there = patients
        homes.append(report(f"home, {patients:,} patients", client, "/", yardstick))
    charts.append(
        report(f"chart, among {MANY:,} patients", client, f"/patients/{short}/", yardstick)
    )
    good = len(set(charts)) == len(set(homes)) == 1
    good = good and charts[0] <= CHART_QUERIES and homes[0] <= HOME_QUERIES
    print("queries do not depend on the rows" if good else "TOO MANY QUERIES, or they grow")
    return 0 if good else 1


def measured(look: Callable[[], Any]) -> tuple[float, int]:
    """Median seconds of a request, and its queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    assert look().status_code == 200
    with CaptureQueriesContext(connection) as queries:
        look()
    count = len(queries)  # the next request empties the log
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        look()
        times.append(time.perf_counter() - began)
    return statistics.median(times), count


def report(name: str, client: Any, path: str, yardstick: float) -> int:
    """Print one page's figures; its number of queries."""
    seconds, queries = measured(lambda: client.get(path))
    print(
        f"{name}: {seconds * 1000:.1f} ms, {seconds / yardstick:.1f} times the sign-in page, "
        f"{queries} queries"
    )
    return queries


def with_levels(clinic: Any, count: int) -> uuid.UUID:
    """A patient on tacrolimus and voriconazole with so many results, written by the services."""
    from django.utils import timezone

    from monitoring.services import review_patient
    from patients.services import record_observations
    from patients.services.results import Result
    from tests.factories import a_patient, analyte_named, by_system, takes
    from tests.roof.conftest import dose

    now = timezone.now()
    by = by_system(clinic)
    # Registered with two results: weight and height.
    patient = a_patient(clinic, at=now - timedelta(days=800))
    dose(patient, "3", at=now - timedelta(days=790))
    analytes = [
        (analyte_named(key), value, unit, hours)
        for key, value, unit, hours in (
            ("tacrolimus-trough", "7.1", "ng/mL", Decimal(12)),
            ("creatinine", "0.9", "mg/dL", None),
            ("potassium", "4.4", "mmol/L", None),
        )
    ]
    results = []
    for number in range(count - 2):
        analyte, value, unit, hours = analytes[number % 3]
        assert analyte is not None
        drawn_at = now - timedelta(days=780) + number * timedelta(days=775) / count
        results.append(
            Result(
                analyte=analyte,
                entered=value,
                unit=unit,
                drawn_at=drawn_at,
                hours_since_dose=hours,
            )
        )
    record_observations(patient=patient, results=results, at=now, by=by)
    takes(patient, "voriconazole", (now - timedelta(days=1)).date(), at=now)
    review_patient(patient=patient, at=now, by=by)
    return patient.public_id


def fill(clinic: Any, count: int, *, like: uuid.UUID, treated_every: int = 10) -> None:
    """So many patients more, past the services (this database is thrown away).

    Every tenth is on tacrolimus: regimen, order, assessment and tasks are copies of `like`'s.
    """
    from dosing.models import Assessment, DoseOrder, Regimen
    from monitoring.models import MonitoringTask
    from patients.models import FactsVersion, Patient

    model = Patient.objects.get(public_id=like)
    regimen = Regimen.objects.get(patient=model)
    order = DoseOrder.objects.get(regimen=regimen)
    newest = Assessment.objects.filter(patient=model).order_by("-at").first()
    tasks = list(MonitoringTask.objects.filter(patient=model))
    assert newest is not None
    assert len(tasks) > 10

    def copies(row: Any, patients: list[Any], **columns: list[Any]) -> list[Any]:
        made = []
        for index, patient in enumerate(patients):
            values = {
                field.attname: getattr(row, field.attname)
                for field in row._meta.concrete_fields
                if not field.primary_key
            }
            if "public_id" in values:
                values["public_id"] = uuid.uuid4()
            if "patient_id" in values:
                values["patient_id"] = patient.pk
            values |= {name: column[index] for name, column in columns.items()}
            made.append(type(row)(**values))
        return list(type(row)._base_manager.bulk_create(made))

    for start in range(0, count, CHUNK):
        patients = list(
            Patient._base_manager.bulk_create(
                Patient(
                    clinic=clinic,
                    mrn=uuid.uuid4().hex,
                    family_name=f"Filler{start + number:05}",
                    given_name="Row",
                    birth_date=model.birth_date,
                    sex=model.sex,
                )
                for number in range(min(CHUNK, count - start))
            )
        )
        FactsVersion._base_manager.bulk_create(FactsVersion(patient=each) for each in patients)
        treated = patients[::treated_every]
        assessments = [each.pk for each in copies(newest, treated)]
        regimens = [each.pk for each in copies(regimen, treated)]
        copies(order, treated, regimen_id=regimens, assessment_id=assessments)
        for task in tasks:
            copies(task, treated, assessment_id=assessments)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tacroweb-pages-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tacroweb.settings",
            "TACROWEB_VAR": folder,
            "SECRET_KEY": "only-for-this-run",
            "HTTPS": "0",
            "DEBUG": "0",
            "ALLOWED_HOSTS": "testserver",
            "LOG_LEVEL": "ERROR",
        }
        os.environ.pop("DATABASE_URL", None)
        sys.exit(main())
