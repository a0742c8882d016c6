"""`manage.py sweep`: the nightly sweep by hand."""

from typing import Any

from django.core.management import BaseCommand, CommandError

from monitoring.models import SweepRun
from monitoring.tasks import nightly_sweep
from tacroweb.audit.signature import Channel


class Command(BaseCommand):
    help = "Review every patient who is due for it today, as the nightly sweep does."

    def handle(self, *args: Any, **options: Any) -> None:
        run = SweepRun.objects.get(pk=nightly_sweep(channel=Channel.COMMAND))
        self.stdout.write(f"{run.patients} patients looked at, {run.failed} failed.")
        if run.failures:
            raise CommandError(run.failures.strip())
