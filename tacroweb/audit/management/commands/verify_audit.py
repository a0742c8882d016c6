"""Verify the audit: exit 0 if all holds, 1 with the first break named, 2 if it cannot run."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tacroweb.audit.verify import verify


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--all", action="store_true", help="print every break, not only the first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = verify()
        except Exception as error:  # whatever it is, it is not an answer
            raise CommandError(f"The audit could not be checked: {error}", returncode=2) from error
        if not report.breaks:
            self.stdout.write(
                f"The audit holds: {report.entries} entries, {report.rows} rows, no break."
            )
            return
        for found in report.breaks if options["all"] else report.breaks[:1]:
            self.stderr.write(str(found))
        raise CommandError(
            f"The audit is broken in {len(report.breaks)} place(s); the first is named above.",
            returncode=1,
        )
