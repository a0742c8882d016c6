"""The impact of a draft over 10,000 patients on tacrolimus: seconds and memory.

On an SQLite database of its own. Prints the time beside `json.loads` of as many cases, and by how
much the process grew between the first tenth and the end; exit 1 when it takes more than 90 s or
grows with the patients.
"""

import json
import os
import resource
import sys
import tempfile
import time

PATIENTS = int(os.environ.get("PATIENTS", "10000"))
AT_MOST_S = 90
MAY_GROW = 1.10


def main() -> int:
    """Make the patients, draft a change, compute its impact, print the figures."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_vocabulary", verbosity=0)
    call_command("seed_rules", verbosity=0)
    from django.utils import timezone

    from benchmarks.pages import fill, with_levels
    from dosing.case import case_of
    from dosing.governance.impact import continue_impact, start_impact
    from dosing.models import ImpactRun
    from dosing.rules import casefile
    from dosing.rules.models import Interaction
    from dosing.rules.services import draft_book, edit_row
    from patients.models import CoMedication, Observation, Patient
    from tests.factories import a_clinic, by_system

    clinic = a_clinic()
    like = with_levels(clinic, 60)
    fill(clinic, PATIENTS - 1, like=like, treated_every=1)
    model = Patient.objects.select_related("clinic").get(public_id=like)
    # Past the services too: every patient has the model's results and drugs.
    others = list(Patient.objects.exclude(pk=model.pk).values_list("pk", flat=True))
    for kind in (Observation, CoMedication):
        for row in kind.objects.filter(patient=model):
            values = {
                field.attname: getattr(row, field.attname)
                for field in kind._meta.concrete_fields
                if not field.primary_key and field.attname != "patient_id"
            }
            kind._base_manager.bulk_create(
                (kind(patient_id=pk, **values) for pk in others), batch_size=5_000
            )
    now = timezone.now()
    text = casefile.written(casefile.encode_case(case_of(model, at=now), at=now))
    began = time.perf_counter()
    for _ in range(1_000):
        json.loads(text)
    yardstick = (time.perf_counter() - began) / 1_000

    by = by_system(reason="A benchmark")
    draft = draft_book(at=now, by=by)
    azoles = Interaction.objects.get(book=draft, code="AZOLES-STARTED")
    azoles.denominator = 4
    edit_row(row=azoles, by=by)
    run = start_impact(book=draft, at=now, asked_by="benchmark")
    began = time.perf_counter()
    early = None
    while continue_impact(run.pk, at=timezone.now()):
        done = ImpactRun.objects.values_list("done", flat=True).get(pk=run.pk)
        if early is None and done >= PATIENTS / 10:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (early or 1)
    run.refresh_from_db()
    failed = run.differences.exclude(failure="").count()
    differing = run.differences.filter(failure="").count()
    print(
        f"impact over {run.done:,} patients on tacrolimus: {seconds:.0f} s on one core, "
        f"{seconds / run.done / yardstick:.0f} times json.loads of a case a patient "
        f"({yardstick * 1000:.2f} ms); {differing:,} would get another advice, {failed} could not "
        "be assessed; "
        f"memory at the end {grown:.2f} of that after a tenth"
    )
    good = run.done == PATIENTS and not run.cut_short and not failed and grown <= MAY_GROW
    good = good and (seconds <= AT_MOST_S or PATIENTS != 10_000)
    print("within its limits" if good else "TOO SLOW, or it grows with the patients")
    return 0 if good else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tacroweb-impact-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tacroweb.settings",
            "TACROWEB_VAR": folder,
            "SECRET_KEY": "only-for-this-run",
            "HTTPS": "0",
            "DEBUG": "0",
            "LOG_LEVEL": "ERROR",
        }
        os.environ.pop("DATABASE_URL", None)
        sys.exit(main())
