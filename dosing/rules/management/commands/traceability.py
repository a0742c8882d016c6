"""From each statement of the protocol to its rows, its functions and its cases."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dosing.rules import cases, toml_book
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.protocol import protocol
from dosing.rules.traceability import report, traces
from tacroweb.refusals import Refusal


class Command(BaseCommand):
    help = (
        "Print, for each statement of the protocol, the rows that cite it, the functions that "
        "raise it and the cases that exercise it. Exit 1 where one of them is missing."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--write",
            action="store_true",
            help="first put what the case files give under the newest rule book of this release "
            "into exercised.json",
        )
        book = parser.add_mutually_exclusive_group()
        book.add_argument(
            "--book", metavar="VERSION", help="a stored rule book other than the published"
        )
        book.add_argument(
            "--shipped",
            action="store_true",
            help="the newest rule book of this release; no database is read",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["write"]:
            try:
                made = cases.collected(newest_shipped())
            except (FileNotFoundError, ValueError) as error:
                raise CommandError(f"No index was written: {error}", returncode=2) from error
            cases.INDEX.write_text(cases.written(made), encoding="utf-8")
            cases.index.cache_clear()
            self.stdout.write(
                f"{cases.INDEX.name}: {len(made.cases)} cases under rule book {made.rule_book}."
            )
        book = newest_shipped() if options["shipped"] else _stored(options["book"])
        found = traces(protocol(), book, cases.index())
        self.stdout.write(f"Rule book {book.version}, {len(cases.index().cases)} cases")
        for line in report(found):
            self.stdout.write(line)
        if missing := [each.statement.code for each in found if each.gaps]:
            raise CommandError(f"Not traced whole: {', '.join(missing)}.", returncode=1)
        self.stdout.write(f"All {len(found)} statements are traced.")


def newest_shipped() -> RuleBook:
    """The newest rule book that comes with this release."""
    return toml_book.delivered()[-1]


def _stored(version: str | None) -> RuleBook:
    # Imported only here: with --shipped no model and no database is touched.
    from dosing.rules import models, selectors

    try:
        return selectors.published_book() if version is None else selectors.book_version(version)
    except Refusal as error:
        raise CommandError(str(error), returncode=2) from error
    except models.RuleBook.DoesNotExist as error:
        raise CommandError(f"There is no rule book {version}.", returncode=2) from error
