"""Puts the rule books that come with TacroWeb into the database."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from dosing.rules import toml_book
from dosing.rules.models import OPEN, RuleBook
from dosing.rules.services import add_book, deliver_book, digest_of_text
from tacroweb.audit.signature import Channel, Signature

SEED = toml_book.SEED


class Command(BaseCommand):
    help = (
        "Add each rule book of dosing/rules/seed that is not there yet. Where there is none, they "
        "are published in order; else a new one is a draft that waits for approval. Running it "
        "again changes nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        by = Signature.system(
            channel=Channel.COMMAND, reason="Rule book delivered with this release of TacroWeb"
        )
        first = not RuleBook.objects.exists()
        for file in sorted(SEED.glob("*.toml")):
            text = file.read_text(encoding="utf-8")
            if _is_there(file, text):
                continue
            if first:
                book = deliver_book(text=text, at=timezone.now(), by=by)
                said = f"Rule book {book} is published."
            elif (waiting := RuleBook.objects.filter(status__in=OPEN).first()) is not None:
                said = (
                    f"Rule book {file.stem} of this release is not added yet: rule book {waiting} "
                    f"is {waiting.get_status_display().lower()}. Publish or discard it, then run "
                    "seed_rules again."
                )
            else:
                book = add_book(text=text, shipped=True, by=by)
                named = "" if book.version == file.stem else f", here {book},"
                said = (
                    f"Rule book {file.stem} of this release{named} is a draft and waits for "
                    "approval."
                )
            if options["verbosity"]:
                self.stdout.write(said)


def _is_there(file: Path, text: str) -> bool:
    """Whether the book of this file was delivered before. A `CommandError` if it was another."""
    said = toml_book.read(text).version
    if said != file.stem:
        raise CommandError(f"{file.name} says that it is version {said}.")
    sha256 = digest_of_text(text)
    if RuleBook.objects.filter(shipped_sha256=sha256).exists():
        return True
    stored = RuleBook.objects.defer("text").filter(version=file.stem).first()
    if stored is None or stored.based_on_id is not None:
        return False  # or a book that was drafted here under the same number
    # A book of an earlier release has no note of its delivery: its text is the file's.
    if (stored.shipped_sha256 or stored.sha256) != sha256:
        raise CommandError(
            f"{file.name} differs from the rule book {file.stem} in the database. A book never "
            "changes once it is there: give the new rules a new version."
        )
    return True
