"""Begin a real installation: add a clinic and its administrator, who adds everybody else."""

import getpass
import sys
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from tacroweb.accounts.models import User
from tacroweb.accounts.roles import Role
from tacroweb.accounts.services import add_clinic, add_user, grant_role
from tacroweb.audit.signature import Channel, Signature


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the clinic, as it is printed")
        parser.add_argument("--time-zone", required=True, help="such as Europe/Berlin")
        parser.add_argument("--administrator", required=True, metavar="USERNAME")
        parser.add_argument("--first-name", default="")
        parser.add_argument("--last-name", default="")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        system = Signature.system(
            channel=Channel.COMMAND, reason=f"Clinic {options['name']} begins."
        )
        user = User.objects.filter(username=options["administrator"]).first()
        password = "" if user else self._password(from_stdin=options["password_stdin"])
        try:
            with transaction.atomic():
                clinic = add_clinic(name=options["name"], time_zone=options["time_zone"], by=system)
                user = user or add_user(
                    username=options["administrator"],
                    password=password,
                    first_name=options["first_name"],
                    last_name=options["last_name"],
                    by=system,
                )
                grant_role(
                    user=user,
                    clinic=clinic,
                    role=Role.ADMINISTRATOR,
                    from_on=timezone.localdate(timezone=ZoneInfo(options["time_zone"])),
                    by=system,
                )
        except ValidationError as refused:
            raise CommandError(" ".join(refused.messages)) from refused
        self.stdout.write(
            f"{clinic} begins. {user.username} signs in and adds people and roles under /admin/."
        )

    def _password(self, *, from_stdin: bool) -> str:
        if from_stdin:
            return sys.stdin.readline().rstrip("\n")
        password = getpass.getpass("Password of the administrator: ")
        if password != getpass.getpass("Once more: "):
            raise CommandError("The two are not the same.")
        return password
