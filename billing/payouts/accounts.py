"""Where a publisher is paid: connecting an account at Stripe, or leaving bank details with the operator.

Coming back from Stripe's page proves nothing: what opens the way is the capability, read from the account itself. Each
reading carries the moment at which it was asked for, so that a slow one never overwrites a newer one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from billing.gateway import calls
from billing.gateway.calls import Json, id_of, whole
from billing.gateway.client import client, is_configured
from billing.ledger.accounts import current_book
from billing.letters import dollars
from billing.models.attempts import CENT_MICROS
from billing.models.payouts import Method, PayoutAccount
from billing.payouts import letters
from billing.payouts.errors import Refused, Unavailable
from marketplace import dispatch
from marketplace.models import Publisher, User

log = logging.getLogger(__name__)

State = PayoutAccount.State
INCLUDE = ["configuration.recipient", "requirements"]
CHECK_WAITING, CHECK_ALL = timedelta(minutes=10), timedelta(days=1)
AT_ONCE = 40
CHECK_TASK = "billing.check_payout_accounts"
MOST_DETAILS = 1000
MOST_DUE = 20
MOST_LEAST_MICROS = 100_000_000_000


def methods() -> list[Method]:
    """The ways in which this installation pays publishers, the usual one first."""
    return [Method(one) for one in settings.PAYOUT_METHODS if one != Method.STRIPE or is_configured()]


def account_of(publisher: Publisher, *, book: str | None = None) -> PayoutAccount:
    """The publisher's row; a new one that is not stored yet where there is none."""
    book = current_book(book)
    row = PayoutAccount.objects.filter(publisher=publisher, book=book).first()
    row = row or PayoutAccount(publisher=publisher, book=book)
    row.publisher = publisher
    return row


def locked(publisher: Publisher, *, book: str | None = None) -> PayoutAccount:
    """The same, stored, and locked until the commit."""
    book = current_book(book)
    PayoutAccount.objects.bulk_create([PayoutAccount(publisher=publisher, book=book)], ignore_conflicts=True)
    row = PayoutAccount.objects.select_for_update(no_key=True).get(publisher=publisher, book=book)
    row.publisher = publisher
    return row


def connect(
    publisher: Publisher,
    *,
    by: User,
    country: str,
    return_url: str,
    refresh_url: str,
    now: datetime | None = None,
) -> str:
    """The address of Stripe's onboarding page, which opens once; the account is made at the first time.

    Outside of transactions. Raises Refused, Unavailable.
    """
    if Method.STRIPE not in methods():
        raise Refused("This installation does not pay through Stripe.")
    row = account_of(publisher)
    if not row.account_id:
        country = country.strip().upper()
        if country not in COUNTRIES:
            raise Refused("Choose the country in which you are taxed.")
        row = _create(row, by, country)
    use = {
        "type": "account_onboarding",
        "account_onboarding": {
            "return_url": return_url,
            "refresh_url": refresh_url,
            "collection_options": {"fields": "eventually_due"},
        },
    }
    try:
        with calls.asking():
            link = client().v2.core.account_links.create(
                {"account": row.account_id, "use_case": cast("Any", use)}
            )
    except calls.Rejected as error:
        look(row, now=now)
        raise Refused(f"Stripe does not open the account's page: {error}") from error
    except (calls.Unreachable, calls.Declined) as error:
        raise Unavailable from error
    return str(link.url)


def _create(row: PayoutAccount, by: User, country: str) -> PayoutAccount:
    """The account at Stripe, made once: the key is the row's own, so that a lost answer is answered again."""
    publisher = row.publisher
    asked = {
        "contact_email": by.email,
        "display_name": publisher.title or publisher.name,
        "dashboard": "express",
        "identity": {"country": country.lower()},
        "configuration": {
            "recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
        },
        "defaults": {
            "responsibilities": {"fees_collector": "application", "losses_collector": "application"}
        },
        "metadata": {"publisher": publisher.public_id.hex, "book": row.book},
        "include": INCLUDE,
    }
    # Asked again with the same words it is the same account; with others Stripe would refuse the same key.
    words = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    key = f"recipient-{publisher.public_id}-{row.book}-{words}"
    try:
        with calls.asking():
            made = client().v2.core.accounts.create(cast("Any", asked), {"idempotency_key": key})
    except calls.Rejected as error:
        raise Refused(f"Stripe cannot make an account: {error}") from error
    except (calls.Unreachable, calls.Declined) as error:
        raise Unavailable from error
    at = timezone.now()
    with transaction.atomic():
        held = locked(publisher, book=row.book)
        if not held.account_id:  # of two tabs one makes it
            held.account_id, held.country, held.method = made.id, country, Method.STRIPE
            held.save(update_fields=["account_id", "country", "method"])
            letters.tell_changed(held, by, "an account at Stripe was connected")
    take_account(calls.plain(made), asked_at=at)
    return account_of(publisher, book=row.book)


def dashboard(publisher: Publisher) -> str:
    """The address of the publisher's own page at Stripe, which opens once. Raises Refused, Unavailable."""
    row = account_of(publisher)
    if not row.account_id:
        raise Refused("No account at Stripe is connected.")
    try:
        with calls.asking():
            return str(client().v1.accounts.login_links.create(row.account_id).url)
    except calls.Rejected as error:
        raise Refused("Stripe has no page for this account yet: finish connecting it first.") from error
    except (calls.Unreachable, calls.Declined) as error:
        raise Unavailable from error


def look(row: PayoutAccount, *, now: datetime | None = None) -> PayoutAccount:
    """The row as Stripe has it now, or as it was where Stripe does not answer. Outside of transactions."""
    at = now or timezone.now()
    if not row.account_id:
        return row
    try:
        follow_account(row.account_id, now=at)
    except (calls.Unreachable, calls.Rejected) as error:
        log.warning("%s is as it was: %s", row, error)
        return row
    return account_of(row.publisher, book=row.book)


def follow_account(account_id: str, *, now: datetime | None = None) -> bool:
    """Bring our row up to what an account is now; True if that changed it. Raises calls.Unreachable, calls.Rejected."""
    if not PayoutAccount.objects.filter(account_id=account_id).exists():
        return False
    at = now or timezone.now()
    try:
        with calls.asking():
            found = calls.plain(
                client().v2.core.accounts.retrieve(account_id, {"include": cast("Any", INCLUDE)})
            )
    except calls.Rejected as error:
        if not error.is_missing and error.code != "account_closed":
            raise
        found = {"id": account_id, "closed": True}
    return take_account(found, asked_at=at)


def take_account(found: Json, *, asked_at: datetime) -> bool:
    """The same for an account that was read; `asked_at` is before it was asked for."""
    state, due = _state(found), _due(found)
    with transaction.atomic():
        row = (
            PayoutAccount.objects.select_for_update(no_key=True, of=("self",))
            .select_related("publisher__workspace")
            .filter(account_id=id_of(found))
            .first()
        )
        if row is None or (row.checked_at is not None and row.checked_at > asked_at):
            return False
        was_connected, is_changed = row.is_connected, (row.state, row.due) != (state.value, due)
        row.state, row.due, row.checked_at = state, due, asked_at
        row.save(update_fields=["state", "due", "checked_at"])
        if row.method == Method.STRIPE and row.is_connected != was_connected:
            letters.tell_account(row)
    return is_changed


def _state(found: Json) -> State:
    if found.get("closed"):
        return State.CLOSED
    recipient = whole(whole(found.get("configuration")).get("recipient"))
    balance = whole(whole(recipient.get("capabilities")).get("stripe_balance"))
    transfers = whole(balance.get("stripe_transfers"))
    details = transfers.get("status_details") or []
    if any(str(whole(one).get("code", "")).startswith("rejected") for one in details):
        return State.REJECTED
    status = transfers.get("status")
    return State(status) if status in {State.ACTIVE, State.PENDING, State.UNSUPPORTED} else State.RESTRICTED


def _due(found: Json) -> list[str]:
    entries = whole(found.get("requirements")).get("entries") or []
    waits = [one for one in entries if whole(one).get("awaiting_action_from", "user") == "user"]
    return sorted({str(whole(one).get("description", ""))[:200] for one in waits})[:MOST_DUE]


def check_due(*, now: datetime | None = None) -> int:
    """Ask Stripe about accounts that are not ready, and once a day about all: no webhook is needed. How many."""
    at = now or timezone.now()
    waits = Q(checked_at=None) | Q(checked_at__lte=at - CHECK_WAITING) & ~Q(state=State.ACTIVE)
    rows = PayoutAccount.objects.filter(waits | Q(checked_at__lte=at - CHECK_ALL), book=current_book())
    rows = rows.exclude(account_id="").exclude(state=State.CLOSED).select_related("publisher__workspace")
    found = list(rows.order_by(F("checked_at").asc(nulls_first=True))[:AT_ONCE])
    for row in found:
        # Before it is asked for, so that those that Stripe says nothing of keep nobody else waiting.
        PayoutAccount.objects.filter(pk=row.pk).update(checked_at=at)
        look(row, now=at)
    return len(found)


@dispatch.follower(CHECK_TASK)
def follow_check(key: str) -> None:
    """What a hint to look asks for."""
    check_due()


# What the publisher decides


def set_method(
    publisher: Publisher, method: str, *, bank_details: str = "", by: User | None
) -> PayoutAccount:
    """Be paid another way from the next payout on. Raises Refused."""
    if method not in methods():
        raise Refused("This installation does not pay that way.")
    details = bank_details.strip().replace("\r\n", "\n")
    if method == Method.MANUAL and not details:
        raise Refused("Write where the money is to go: the name, the bank, the account's number.")
    if len(details) > MOST_DETAILS or not all(one.isprintable() or one == "\n" for one in details):
        raise Refused(f"At most {MOST_DETAILS} characters of plain text.")
    with transaction.atomic():
        row = locked(publisher)
        before = (row.method, row.bank_details)
        row.method = Method(method)
        if method == Method.MANUAL:
            row.bank_details = details
        row.save(update_fields=["method", "bank_details"])
        if before != (row.method, row.bank_details):
            what = (
                "payouts go through Stripe"
                if method == Method.STRIPE
                else "payouts go to a bank account by hand"
            )
            letters.tell_changed(row, by, what)
    return row


def set_wishes(publisher: Publisher, *, is_automatic: bool, least_micros: int | None) -> PayoutAccount:
    """Be paid by itself or only when asked for, and not below so much. None: the installation's. Raises Refused."""
    if least_micros is not None and not floor() <= least_micros <= MOST_LEAST_MICROS:
        raise Refused(f"The smallest payout is {dollars(floor())} here.")
    with transaction.atomic():
        row = locked(publisher)
        row.is_automatic, row.least_micros = is_automatic, least_micros
        row.save(update_fields=["is_automatic", "least_micros"])
    return row


# What the operator decides


def hold(publisher: Publisher, reason: str, *, by: User | None, now: datetime | None = None) -> PayoutAccount:
    """Hold back what a publisher has earned: nothing matures and no payout begins until `lift`. Raises Refused."""
    reason = " ".join(reason.split())
    if not reason:
        raise Refused("A hold needs a reason; the publisher is told it.")
    with transaction.atomic():
        row = locked(publisher)
        row.held_at, row.hold_reason, row.held_by = row.held_at or now or timezone.now(), reason[:500], by
        row.save(update_fields=["held_at", "hold_reason", "held_by"])
        letters.tell_hold(row)
    return row


def lift(publisher: Publisher) -> bool:
    """End a hold; True if there was one."""
    with transaction.atomic():
        row = locked(publisher)
        if not row.is_held:
            return False
        row.held_at, row.hold_reason, row.held_by = None, "", None
        row.save(update_fields=["held_at", "hold_reason", "held_by"])
        letters.tell_hold(row)
    return True


def set_delay(publisher: Publisher, days: int | None) -> None:
    """Let this publisher's earnings mature after so many days; None: the installation's. What matured stays so."""
    if days is not None and not 0 <= days <= 365:
        raise Refused("The delay is 0 to 365 days.")
    with transaction.atomic():
        row = locked(publisher)
        row.delay_days = days
        row.save(update_fields=["delay_days"])


def set_share(publisher: Publisher, percent: Decimal) -> None:
    """Let a publisher have so many percent of each charge from now on. Raises Refused."""
    if not percent.is_finite() or not 0 <= percent <= 100 or percent != round(percent, 2):
        raise Refused("The share is 0 to 100 percent, with two decimals at most.")
    with transaction.atomic():
        row = (
            Publisher.objects.select_for_update(no_key=True, of=("self",))
            .select_related("workspace")
            .get(pk=publisher.pk)
        )
        before = f"{row.share_percent.normalize():f} %"
        if row.share_percent == percent:
            return
        row.share_percent = percent
        row.save(update_fields=["share_percent"])
        letters.tell_share(row, before)


def floor() -> int:
    """The smallest payout of this installation."""
    return int(settings.PAYOUT_LEAST_MICROS)


def least(row: PayoutAccount) -> int:
    """The least that is paid to this publisher at once: whole cents, one at least."""
    found = max(floor(), row.least_micros or 0, CENT_MICROS)
    return -(-found // CENT_MICROS) * CENT_MICROS


def delay(row: PayoutAccount | None) -> timedelta:
    """How long this publisher's earnings are pending."""
    days = row.delay_days if row is not None and row.delay_days is not None else settings.PAYOUT_DELAY_DAYS
    return timedelta(days=days)


def publishers_of(workspace_id: int) -> Collection[Publisher]:
    """The publishers of a workspace, the oldest first."""
    return list(Publisher.objects.filter(workspace=workspace_id).select_related("workspace").order_by("pk"))


# Where Stripe makes recipients of this kind, as its pages say.
COUNTRIES: Mapping[str, str] = {
    "AT": "Austria", "AU": "Australia", "BE": "Belgium", "BG": "Bulgaria", "BR": "Brazil", "CA": "Canada",
    "CH": "Switzerland", "CY": "Cyprus", "CZ": "Czechia", "DE": "Germany", "DK": "Denmark", "EE": "Estonia",
    "ES": "Spain", "FI": "Finland", "FR": "France", "GB": "United Kingdom", "GR": "Greece", "HK": "Hong Kong",
    "HR": "Croatia", "HU": "Hungary", "IE": "Ireland", "IT": "Italy", "JP": "Japan", "LI": "Liechtenstein",
    "LT": "Lithuania", "LU": "Luxembourg", "LV": "Latvia", "MT": "Malta", "MX": "Mexico", "MY": "Malaysia",
    "NL": "Netherlands", "NO": "Norway", "NZ": "New Zealand", "PL": "Poland", "PT": "Portugal", "RO": "Romania",
    "SE": "Sweden", "SG": "Singapore", "SI": "Slovenia", "SK": "Slovakia", "TH": "Thailand",
    "US": "United States",
}  # fmt: skip
