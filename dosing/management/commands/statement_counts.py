"""Proves the counts of fired statements from the assessments that are stored."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dosing.services.counts import mend_counts, miscounts
from tacroweb.accounts.models import Clinic


class Command(BaseCommand):
    help = (
        "Count again, from every stored assessment, how often each statement fired. Exit 1 where "
        "the counts that the pages show are others, naming each."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mend", action="store_true", help="make the counts right")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["mend"]:
            self.stdout.write(f"{mend_counts()} counts were made right.")
            return
        names = dict(Clinic.objects.values_list("pk", "name"))
        wrong = 0
        for (clinic, code, on), kept, right in miscounts():
            wrong += 1
            self.stdout.write(f"{names[clinic]}, {on}, {code}: counted {kept}, stored {right}")
        if wrong:
            raise CommandError(f"{wrong} counts are not what the assessments give.", returncode=1)
        self.stdout.write("The counts are what the stored assessments give.")
