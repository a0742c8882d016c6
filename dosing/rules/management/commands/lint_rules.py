"""Lint a rule book: one finding a line, errors first."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from dosing.rules import toml_book
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linter import Level, lint
from tacroweb.refusals import Refusal


class Command(BaseCommand):
    help = (
        "Prove that a rule book has no gap, no overlap and no contradiction. Prints level, table, "
        "row, value and message, one finding a line. Exit 0 without errors, 1 with errors, 2 if "
        "it could not run."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        book = parser.add_mutually_exclusive_group(required=True)
        book.add_argument(
            "file", nargs="?", metavar="FILE.toml", help="a rule book file; no database is read"
        )
        book.add_argument(
            "--book",
            metavar="VERSION",
            help="a stored rule book, compared with the published one if it is another",
        )
        parser.add_argument(
            "--against", metavar="FILE.toml", help="a rule book file to compare it with"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        published: RuleBook | None = None
        if options["book"] is None:
            book = _read(options["file"])
        else:
            book, published = _stored(options["book"])
        if options["against"] is not None:
            published = _read(options["against"])
        found = lint(
            book,
            published=published,
            delivered=toml_book.delivered(),
            today=timezone.now().date(),
        )
        for each in found:
            self.stdout.write(
                "\t".join((each.level, each.table, each.row, each.value, each.message))
            )
        errors = sum(each.level is Level.ERROR for each in found)
        said = f"Rule book {book.version}: errors {errors}, warnings {len(found) - errors}."
        if errors:
            raise CommandError(said, returncode=1)
        self.stdout.write(said)


def _read(file: str) -> RuleBook:
    try:
        return toml_book.read(Path(file).read_bytes().decode("utf-8"))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", returncode=2) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file}: not UTF-8 text", returncode=2) from error
    except ValueError as error:
        raise CommandError(f"{file}: {error}", returncode=2) from error


def _stored(version: str) -> tuple[RuleBook, RuleBook | None]:
    """The stored book and, where another one is published, that one to compare it with."""
    # Imported only here: with a file no model and no database is touched.
    from dosing.rules import models, selectors

    try:
        book = selectors.book_version(version)
    except models.RuleBook.DoesNotExist as error:
        raise CommandError(f"There is no rule book {version}.", returncode=2) from error
    except Refusal as error:
        raise CommandError(str(error), returncode=2) from error
    try:
        published = selectors.published_book()
    except selectors.NoPublishedBook:
        return book, None
    return book, None if published.version == book.version else published
