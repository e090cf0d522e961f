"""How workspaces and people go: what that would mean, said before, and the act itself in one transaction.

A closed workspace keeps its row, its runs and its ledger, for the books. Nobody is in it any more, no key opens it,
no run is taken for it, and its media and inputs are deleted within a day. Of a person who left, an account without a
name stays for what refers to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import OperationalError, transaction
from django.utils import timezone

from billing import ledger, payouts
from marketplace import keys, people, publishers
from marketplace.ids import encode
from marketplace.models import ApiKey, Listing, Membership, Publisher, User, Workspace
from marketplace.people import Act
from playground import assets, predictions, webhooks
from playground.models import Asset, Prediction, Share

ATTEMPTS = (
    3  # a worker that notes steps of several runs at once may cross our way; then the database picks one
)


class CannotGo(Exception):
    """Something must be done first; the message says what."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What closing a workspace would do, as of now."""

    workspace: Workspace
    balance: ledger.Balance
    open_runs: int
    keys: int
    media: int
    members: int
    listings: list[str]  # that others can run, which forbid it
    earned_micros: int  # by its publishers, and not paid out yet
    pays_by_itself: bool  # whether all of that goes on to be paid, as far as it is enough for a payout

    @property
    def bought_micros(self) -> int:
        """Credit that was paid for, which the operator can refund."""
        return self.balance.bought_micros


def preview(workspace: Workspace) -> Leaving:
    """What closing the workspace would do."""
    owed = _owed(workspace)
    return Leaving(
        workspace=workspace,
        balance=ledger.balance(workspace.pk),
        open_runs=Prediction.objects.of(workspace).open().count(),
        keys=ApiKey.objects.filter(workspace=workspace, revoked_at=None).count(),
        media=Asset.objects.of(workspace).live().count(),
        members=workspace.memberships.count(),
        listings=_run_by_others(workspace),
        earned_micros=sum(micros for _, micros in owed),
        pays_by_itself=all(
            account.is_connected and account.is_automatic and not account.is_held for account, _ in owed
        ),
    )


def close_workspace(workspace: Workspace, *, by: User) -> None:
    """Close it for good: runs canceled without a charge, keys revoked, members and invitations gone, media expired.

    Its publishers are closed with it. Raises CannotGo while others can run its models, people.Refused for who may not,
    people.NoSuchMember when it is closed already. Of two at once one closes it.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                row = people.locked(workspace.pk)
                people.acting(row, by, Act.CLOSE)
                _close(row, timezone.now())
            return
        except OperationalError:  # a deadlock, see ATTEMPTS
            if attempt == ATTEMPTS or transaction.get_connection().in_atomic_block:
                raise


@dataclass(frozen=True, slots=True)
class Farewell:
    """What deleting an account would do."""

    closes: list[Leaving]  # workspaces that nobody else is in
    leaves: list[Workspace]
    needs_owner: list[Workspace]  # which forbid it: others are in them, and nobody else owns them

    @property
    def is_possible(self) -> bool:
        return not self.needs_owner and not any(one.listings for one in self.closes)


def preview_account(user: User) -> Farewell:
    """What deleting the account would do."""
    closes, leaves, needs_owner = [], [], []
    for place in people.memberships_of(user):
        if _is_alone(place):
            closes.append(preview(place.workspace))
        elif _is_sole_owner(place):
            needs_owner.append(place.workspace)
        else:
            leaves.append(place.workspace)
    return Farewell(closes, leaves, needs_owner)


def delete_account(user: User) -> None:
    """Close the workspaces that only they are in, leave the others, and forget who they were.

    Raises CannotGo while they are the only owner of a workspace that others are in, or own public listings.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                _delete_account(user)
            return
        except OperationalError:
            if attempt == ATTEMPTS or transaction.get_connection().in_atomic_block:
                raise


def _delete_account(user: User) -> None:
    now = timezone.now()
    # Workspaces first, then the person: the order in which invitations are accepted.
    mine = sorted(Membership.objects.filter(user=user).values_list("workspace_id", flat=True))
    rows = [people.locked(pk) for pk in mine if Workspace.objects.filter(pk=pk, closed_at=None).exists()]
    person = User.objects.select_for_update().get(pk=user.pk)
    if person.closed_at is not None:
        return
    places = {place.workspace_id: place for place in Membership.objects.filter(user=person)}
    if set(places) - set(mine):
        raise CannotGo("You have joined a workspace this moment. Look at this page once more.")
    for row in rows:
        place = places.get(row.pk)
        if place is None:
            continue
        if _is_alone(place):
            _close(row, now)
        elif _is_sole_owner(place):
            raise CannotGo(
                f"Others are in {row.name}, and you are its only owner. Make somebody else owner first."
            )
        else:
            place.delete()
    people.forget(person)


def _close(row: Workspace, now: datetime) -> None:
    """The workspace is locked by the present transaction."""
    listings = _run_by_others(row)
    if listings:
        raise CannotGo(
            f"Others can run models of {row.name}: {', '.join(listings)}. Pause them or make them private first."
        )
    for publisher in publishers.of(row):
        publishers.close(publisher, now=now)
    predictions.end_all(row.pk)
    keys.revoke_all(row)
    people.revoke_all(row)
    assets.expire_all(row.pk)
    webhooks.remove_all(row.pk)
    Share.objects.filter(workspace=row, revoked_at=None).update(revoked_at=now)
    Membership.objects.filter(workspace=row).delete()
    row.closed_at = now
    row.slug = f"closed-{encode(row.public_id)}"  # the name is free again
    row.save(update_fields=["closed_at", "slug"])


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing a publisher would do, as of now. Amounts are micro-dollars; `payable_micros` may be negative."""

    publisher: Publisher
    listings: list[str]  # that others can run
    open_runs: int
    pending_micros: int
    payable_micros: int
    in_transit_micros: int
    least_micros: int  # of a payout
    delay_days: int
    is_connected: bool
    is_held: bool
    is_automatic: bool

    @property
    def coming_micros(self) -> int:
        """What there will be to pay out once everything has matured."""
        return self.pending_micros + self.payable_micros

    @property
    def is_too_little(self) -> bool:
        return 0 < self.coming_micros < self.least_micros


def preview_publisher(publisher: Publisher) -> Closing:
    """What closing the publisher would do."""
    account = payouts.account_of(publisher)
    has = ledger.publisher_balance(publisher.pk)
    rows = Listing.objects.filter(publisher=publisher).run_by_others()
    return Closing(
        publisher=publisher,
        listings=[
            f"{publisher.name}/{name}" for name in rows.order_by("name").values_list("name", flat=True)
        ],
        open_runs=Prediction.objects.open().filter(version__listing__publisher=publisher).count(),
        pending_micros=has.pending_micros,
        payable_micros=has.payable_micros,
        in_transit_micros=has.in_transit_micros,
        least_micros=payouts.least(account),
        delay_days=payouts.delay(account).days,
        is_connected=account.is_connected,
        is_held=account.is_held,
        is_automatic=account.is_automatic,
    )


def _run_by_others(workspace: Workspace) -> list[str]:
    rows = Listing.objects.filter(publisher__workspace=workspace).run_by_others()
    return [row.model_id for row in rows.select_related("publisher").order_by("publisher__name", "name")]


def _owed(workspace: Workspace) -> list[tuple[payouts.PayoutAccount, int]]:
    """What its publishers have earned and not been paid, and where that goes to; those with nothing are left out."""
    found = []
    for publisher in Publisher.objects.filter(workspace=workspace).order_by("pk"):
        has = ledger.publisher_balance(publisher.pk)
        micros = has.pending_micros + has.payable_micros + has.in_transit_micros
        if micros > 0:
            found.append((payouts.account_of(publisher), micros))
    return found


def _is_alone(place: Membership) -> bool:
    others = Membership.objects.filter(workspace_id=place.workspace_id).exclude(pk=place.pk)
    return not others.exists()


def _is_sole_owner(place: Membership) -> bool:
    if place.role != Membership.Role.OWNER:
        return False
    owners = Membership.objects.filter(workspace_id=place.workspace_id, role=Membership.Role.OWNER)
    return not owners.exclude(pk=place.pk).exists()
