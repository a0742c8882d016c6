"""Replays every stored assessment: exit 1 if one of them gives another answer than it gave."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from dosing.models import Assessment
from dosing.rules.models import RuleBook
from dosing.services import book_changed, replay

BATCH = 200
NAMED = 20  # differences of one assessment


class Command(BaseCommand):
    help = (
        "Put the facts of every stored assessment to its own rule book again and compare the "
        "answer, byte for byte. Names each difference and its cause. Exit 0 if all are the same, "
        "1 if one differs or a rule book is not what it was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--patient", metavar="ID", type=UUID, help="of one patient only")
        parser.add_argument("--book", metavar="VERSION", help="made under one rule book only")

    def handle(self, *args: Any, **options: Any) -> None:
        books = RuleBook.objects.exclude(sha256="").defer("text").order_by("version")
        stored = Assessment.objects.select_related("rule_book").defer("rule_book__text")
        if options["book"]:
            books = books.filter(version=options["book"])
            stored = stored.filter(rule_book__version=options["book"])
            if not books:
                raise CommandError(f"There is no rule book {options['book']}.", returncode=2)
        if options["patient"]:
            stored = stored.filter(patient__public_id=options["patient"])
        changed = [words for book in books if (words := book_changed(book))]
        for words in changed:
            self.stdout.write(words)
        count = differing = 0
        for assessment in stored.order_by("pk").iterator(chunk_size=BATCH):
            count += 1
            outcome = replay(assessment)
            if outcome.same:
                continue
            differing += 1
            self.stdout.write(
                f"Assessment {assessment.public_id} of {assessment.at.isoformat()}, rule book "
                f"{assessment.rule_book.version}, engine {assessment.engine_version}: "
                f"{outcome.cause.label}. {outcome.words}".strip()
            )
            for difference in outcome.differences[:NAMED]:
                self.stdout.write(f"  {difference}")
            if (more := len(outcome.differences) - NAMED) > 0:
                self.stdout.write(f"  and {more} more")
        said = f"{count} assessments replayed, {differing} differ."
        if differing or changed:
            raise CommandError(said, returncode=1)
        self.stdout.write(said)
