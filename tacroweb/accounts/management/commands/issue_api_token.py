"""Issue an API token to a person at a clinic. The key is printed once and kept nowhere."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from tacroweb.accounts.access import access_for
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Scope
from tacroweb.accounts.services import issue_token
from tacroweb.audit.signature import Channel, Signature


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--clinic", help="its name; needed where the person works at several")
        parser.add_argument(
            "--scopes", nargs="+", required=True, metavar="SCOPE", help=", ".join(Scope.values)
        )
        parser.add_argument("--days", type=int, default=90, help="until it expires (90)")
        parser.add_argument("--name", default="Issued at the command line", help="what it is for")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["days"] <= 366:
            raise CommandError("A token lasts 1 to 366 days.")
        if unknown := set(options["scopes"]) - set(Scope.values):
            raise CommandError(
                f"Unknown scope: {', '.join(sorted(unknown))}. Known: {', '.join(Scope.values)}."
            )
        user = User.objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active person {options['username']}.")
        clinic = self._clinic(user, options["clinic"])
        try:
            token, key = issue_token(
                user=user,
                clinic=clinic,
                name=options["name"],
                scopes=[Scope(scope) for scope in options["scopes"]],
                expires_at=timezone.now() + timedelta(days=options["days"]),
                by=Signature.system(
                    channel=Channel.COMMAND, reason=options["name"], clinic_id=clinic.pk
                ),
            )
        except ValidationError as refused:
            raise CommandError(" ".join(refused.messages)) from refused
        self.stderr.write(
            f"For {user.username} at {clinic}, until {token.expires_at:%d-%b-%Y}. "
            "This is the only time that the key is shown:"
        )
        self.stdout.write(key)

    def _clinic(self, user: User, name: str | None) -> Clinic:
        access = access_for(user, at=timezone.now(), channel=Channel.COMMAND)
        clinics = access.clinics if access else ()
        chosen = [clinic for clinic in clinics if name in (None, clinic.name)]
        if len(chosen) != 1:
            held = ", ".join(str(clinic) for clinic in clinics) or "none"
            raise CommandError(f"Say at which clinic. {user.username} works at: {held}.")
        return chosen[0]
