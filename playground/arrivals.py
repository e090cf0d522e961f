"""How people arrive: a workspace of their own, with the starter credit, once to a person."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from datetime import UTC

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing import ledger
from marketplace import people
from marketplace.models import Membership, User, Workspace

KEY = "promo:starter:"
NOWHERE = "-"  # the trace of somebody who came from no network, as whoever sits at the machine
IPV6_PREFIX = 64  # what one household or host has to itself


def welcome(user: User, *, address: str = "") -> tuple[Workspace | None, int]:
    """Give who belongs to no workspace one of their own, and who never had the starter credit that.

    Called whenever somebody has signed in, from the IP `address`; none is this machine. Returns what was made and
    granted now. Who came when enough others had had their credit that day gets it at a later sign-in.
    """
    if people.membership_of(user) is not None and not is_waiting(user):
        return None, 0
    with transaction.atomic():
        # Locked, so that two browsers that sign in at once do not make two.
        person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if people.membership_of(person) is not None:
            own = person.memberships.filter(role=Membership.Role.OWNER, workspace__closed_at=None)
            first = own.select_related("workspace").order_by("created_at", "id").first()
            if first is None or not is_waiting(person):
                return None, 0
            return None, grant_starter(person, first.workspace, address=address)
        workspace = people.found_workspace(person, name=person.get_short_name()[:80] or "Workspace")
        granted = grant_starter(person, workspace, address=address)
    user.starter_at, user.starter_from = person.starter_at, person.starter_from
    return workspace, granted


def is_waiting(person: User) -> bool:
    """Whether the person's starter credit was put off to another day."""
    return person.starter_at is None and person.starter_from != "" and int(settings.STARTER_CREDIT_MICROS) > 0


def grant_starter(person: User, workspace: Workspace, *, address: str = "") -> int:
    """Credit the workspace with what the installation gives newcomers, in the caller's transaction.

    Once to a person, and once to an address, so that leaving and coming again gives nothing; and to so many a day only,
    in all and of one network. Returns micro-dollars.
    """
    ledger.open_workspace(workspace.pk)
    amount = int(settings.STARTER_CREDIT_MICROS)
    if amount <= 0 or person.starter_at is not None:
        return 0
    # What tells the network, without telling it.
    person.starter_from = _keyed(f"network:{network_of(address)}") if address else NOWHERE
    if not _has_room(person.starter_from):
        person.save(update_fields=["starter_from"])
        return 0
    person.starter_at = timezone.now()
    person.save(update_fields=["starter_at", "starter_from"])
    try:
        granted = ledger.credit(workspace.pk, amount, key=KEY + _trace(person.email), note="starter credit")
    except ledger.KeyReused:
        return 0
    return amount if granted else 0


def _has_room(network: str) -> bool:
    """Whether one more may have the credit today. Counted under a lock, so that many at once cannot all be the last."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('vitrine starter'))")
    midnight = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = User.objects.filter(starter_at__gte=midnight)
    most, most_near = int(settings.STARTER_CREDITS_PER_DAY), int(settings.STARTER_CREDITS_PER_NETWORK)
    if most and today.count() >= most:
        return False
    return network == NOWHERE or not most_near or today.filter(starter_from=network).count() < most_near


def network_of(address: str) -> str:
    """The network of an IP address that one household or host has to itself; the text itself where it is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False).network_address)


def _trace(email: str) -> str:
    """What tells an address that had its credit, without telling the address."""
    return _keyed(f"starter:{email.strip().lower()}")


def _keyed(text: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:40]
