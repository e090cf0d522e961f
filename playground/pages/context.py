"""What every page knows: who is here, what they can spend, what time it is."""

from __future__ import annotations

import time
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from billing import ledger
from marketplace import people
from marketplace.models import User, Workspace
from playground.middleware import VitrineRequest
from playground.predictions import Caller


def workspace_of(request: HttpRequest) -> Workspace | None:
    """The workspace of a signed-in person, or None."""
    return cast("VitrineRequest", request).workspace or None


def caller_of(request: HttpRequest) -> Caller | None:
    """Who asks, for the rooms below; None for visitors and for people without a workspace."""
    membership = cast("VitrineRequest", request).membership
    if not membership:
        return None
    return Caller(workspace=membership.workspace, user=cast("User", request.user), role=membership.role)


def page(request: HttpRequest) -> dict[str, Any]:
    """The context processor. The balance is asked for only where it is shown."""
    workspace = getattr(request, "workspace", None)
    places: Any = SimpleLazyObject(lambda: people.memberships_of(cast("User", request.user)))
    return {
        "workspace": workspace,
        "own_places": places,
        "publishes": SimpleLazyObject(
            lambda: any(place.publishes for place in places if place.workspace_id == workspace.pk)
        )
        if workspace
        else False,
        "may_publish": SimpleLazyObject(lambda: _may_publish(request)) if workspace else False,
        "balance": SimpleLazyObject(lambda: ledger.balance(workspace.pk)) if workspace else None,
        "mail_is_filed": settings.MAIL_IS_FILED,
        "stripe_is_played": settings.STRIPE_SANDBOX,
        "starter_micros": settings.STARTER_CREDIT_MICROS,
        "now": f"{time.time():.3f}",
    }


def _may_publish(request: HttpRequest) -> bool:
    membership = cast("VitrineRequest", request).membership
    return bool(membership) and people.may(membership.role, people.Act.PUBLISH) if membership else False
