"""Assess cases from files: one advice as JSON a line."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dosing.rules import casefile, toml_book
from dosing.rules.engine.assess import assess
from dosing.rules.engine.rulebook import RuleBook
from tacroweb.refusals import Refusal


class Command(BaseCommand):
    help = (
        "Assess each case file against the published rule book, a version of it, or a TOML file "
        "(then no database is needed). Prints one advice JSON a line; exit 2 for bad input."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", help="a case file, or - for input")
        book = parser.add_mutually_exclusive_group()
        book.add_argument(
            "--book", metavar="VERSION", help="a stored rule book other than the published"
        )
        book.add_argument("--toml", metavar="FILE", help="a rule book file; no database is read")

    def handle(self, *args: Any, **options: Any) -> None:
        book = _book(options["book"], options["toml"])
        for name in options["files"]:
            try:
                case, at = casefile.read_case(_text(name))
            except ValueError as error:
                raise CommandError(f"{name}: {error}", returncode=2) from error
            advice = assess(case, book, at=at)
            self.stdout.write(casefile.written(casefile.encode_advice(advice)))


def _text(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}", returncode=2) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{name}: not UTF-8 text", returncode=2) from error


def _book(version: str | None, toml: str | None) -> RuleBook:
    if toml is not None:
        try:
            return toml_book.read(_text(toml))
        except ValueError as error:
            raise CommandError(f"{toml}: {error}", returncode=2) from error
    # Imported only here: with --toml no model and no database is touched.
    from dosing.rules import models, selectors

    try:
        return selectors.published_book() if version is None else selectors.book_version(version)
    except Refusal as error:
        raise CommandError(str(error), returncode=2) from error
    except models.RuleBook.DoesNotExist as error:
        raise CommandError(f"There is no rule book {version}.", returncode=2) from error
