"""Puts the rule books that come with TacroWeb into the database and in force."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from dosing import rules
from dosing.rules.models import RuleBook
from dosing.rules.services import add_book, digest_of_text, publish_book
from tacroweb.audit.signature import Channel, Signature

SEED = Path(rules.__path__[0]) / "seed"


class Command(BaseCommand):
    help = (
        "Add and publish, in order, each rule book of dosing/rules/seed that is not there yet. "
        "Running it again changes nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        stored = dict(RuleBook.objects.values_list("version", "sha256"))
        by = Signature.system(
            channel=Channel.COMMAND, reason="Rule book delivered with this release of TacroWeb"
        )
        for file in sorted(SEED.glob("*.toml")):
            text = file.read_text(encoding="utf-8")
            if (sha256 := stored.get(file.stem)) is None:
                with transaction.atomic():
                    book = add_book(text=text, by=by)
                    if book.version != file.stem:
                        raise CommandError(f"{file.name} says that it is version {book.version}.")
                    publish_book(book=book, at=timezone.now(), by=by)
                if options["verbosity"]:
                    self.stdout.write(f"Rule book {book.version} is published.")
            elif sha256 != digest_of_text(text):
                raise CommandError(
                    f"{file.name} differs from the rule book {file.stem} in the database. A book "
                    "never changes once it is there: give the new rules a new version."
                )
