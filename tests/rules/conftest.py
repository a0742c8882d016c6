"""A draft, and the people through whose hands a rule book goes."""

import pytest

from dosing.rules.models import RuleBook
from dosing.rules.services import draft_book
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.signature import Signature
from tests.factories import NOW, a_clinic, a_person, for_all


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic()


@pytest.fixture
def editor(clinic: Clinic) -> Signature:
    """The hand of a rule editor, for acts on the installation's books."""
    return for_all(a_person(clinic, Role.RULE_EDITOR), "A test of the editor.")


@pytest.fixture
def approver(clinic: Clinic) -> Signature:
    """The hand of a rule approver, for acts on the installation's books."""
    return for_all(a_person(clinic, Role.RULE_APPROVER), "A test of the approver.")


@pytest.fixture
def draft(editor: Signature) -> RuleBook:
    """A draft of the editor's, with the rows in force."""
    return draft_book(at=NOW, by=editor)
