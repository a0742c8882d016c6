"""Who writes, in which role, why and through what: the argument `by` of every service."""

import uuid
from dataclasses import dataclass, field, replace
from typing import Self


class UnsignedWrite(Exception):
    """A tracked row was about to be written without a signature, or outside a service."""


class Channel:
    """The doors through which a write can come."""

    WEB = "WEB"
    API = "API"
    ADMIN = "ADMIN"
    COMMAND = "COMMAND"
    TASK = "TASK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One person's (or the system's) hand under one act.

    `actor_id` is None only for the system itself (seeding, the nightly sweep). `clinic_id` names
    the clinic whose ledger chain receives the act; None means the installation's own chain. The
    name and role are copies: they say what was true when the act was done.
    """

    actor_id: int | None
    actor_name: str
    role: str
    clinic_id: int | None
    channel: str
    reason: str = ""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @classmethod
    def system(cls, *, channel: str, reason: str, clinic_id: int | None = None) -> Self:
        """The signature of the software itself, which must say why it writes."""
        return cls(
            actor_id=None,
            actor_name="TacroWeb",
            role="SYSTEM",
            clinic_id=clinic_id,
            channel=channel,
            reason=reason,
        )

    def because(self, reason: str) -> Self:
        """The same hand, with the reason given for this act."""
        return replace(self, reason=reason.strip())

    @property
    def chain(self) -> str:
        """The ledger chain that this act belongs to."""
        return "system" if self.clinic_id is None else f"clinic:{self.clinic_id}"
