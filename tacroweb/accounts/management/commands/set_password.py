"""Give a person a new password from the machine itself: for an administrator who lost theirs."""

import getpass
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tacroweb.accounts.models import User
from tacroweb.accounts.services import change_password
from tacroweb.audit.signature import Channel, Signature


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="kept with the act")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no person {options['username']}.")
        if options["password_stdin"]:
            password = sys.stdin.readline().rstrip("\n")
        else:
            password = getpass.getpass(f"New password of {user.username}: ")
        by = Signature.system(channel=Channel.COMMAND, reason=options["reason"])
        try:
            change_password(user=user, password=password, by=by)
        except ValidationError as refused:
            raise CommandError(" ".join(refused.messages)) from refused
        self.stdout.write(f"{user.username} has a new password; their sessions have ended.")
