"""How people arrive: a workspace of their own, with the starter credit, once to a person."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from billing import ledger
from marketplace import people
from marketplace.models import User, Workspace

KEY = "promo:starter:"


def welcome(user: User) -> tuple[Workspace | None, int]:
    """Give who belongs to no workspace one of their own, and who never had the starter credit that.

    Called whenever somebody has signed in. Returns what was made and granted now.
    """
    if people.membership_of(user) is not None:
        return None, 0
    with transaction.atomic():
        # Locked, so that two browsers that sign in at once do not make two.
        person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if people.membership_of(person) is not None:
            return None, 0
        workspace = people.found_workspace(person, name=person.get_short_name()[:80] or "Workspace")
        return workspace, grant_starter(person, workspace)


def grant_starter(person: User, workspace: Workspace) -> int:
    """Credit the workspace with what the installation gives newcomers, in the caller's transaction.

    Once to a person, and once to an address, so that leaving and coming again gives nothing. Returns micro-dollars.
    """
    ledger.open_workspace(workspace.pk)
    amount = int(settings.STARTER_CREDIT_MICROS)
    if amount <= 0 or person.starter_at is not None:
        return 0
    person.starter_at = timezone.now()
    person.save(update_fields=["starter_at"])
    try:
        granted = ledger.credit(workspace.pk, amount, key=KEY + _trace(person.email), note="starter credit")
    except ledger.KeyReused:
        return 0
    return amount if granted else 0


def _trace(email: str) -> str:
    """What tells an address that had its credit, without telling the address."""
    secret = settings.SECRET_KEY.encode()
    return hmac.new(secret, f"starter:{email.strip().lower()}".encode(), hashlib.sha256).hexdigest()[:40]
