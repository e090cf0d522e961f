"""The rows of the marketplace."""

from __future__ import annotations

from marketplace.models.keys import ApiKey
from marketplace.models.outbox import Outbox
from marketplace.models.people import Invitation, Membership, User, Workspace
from marketplace.models.shelf import Endpoint, Listing, Offer, Price, Publisher, Version

__all__ = [
    "ApiKey",
    "Endpoint",
    "Invitation",
    "Listing",
    "Membership",
    "Offer",
    "Outbox",
    "Price",
    "Publisher",
    "User",
    "Version",
    "Workspace",
]
