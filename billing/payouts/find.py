"""Looking payouts up."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet

from billing.ledger.accounts import current_book
from billing.models.payouts import BankArrival, Method, Payout, PayoutAccount
from marketplace.ids import parse
from marketplace.models import Publisher


def rows(publisher: Publisher, *, book: str | None = None) -> QuerySet[Payout]:
    """All payouts of a publisher, in no order."""
    return Payout.objects.filter(publisher=publisher, book=current_book(book))


def of(publisher: Publisher, *, limit: int, book: str | None = None) -> list[Payout]:
    """A publisher's payouts, the newest first."""
    found = rows(publisher, book=book).select_related("by")
    return list(found.order_by("-created_at", "-pk")[:limit])


def arrivals_of(publisher: Publisher, *, limit: int, book: str | None = None) -> list[BankArrival]:
    """What Stripe sent on to a publisher's bank, the newest first."""
    rows = BankArrival.objects.filter(publisher=publisher, book=current_book(book))
    return list(rows.order_by("-created_at", "-pk")[:limit])


def find(uid: str, *, book: str | None = None) -> Payout | None:
    """A payout by any spelling of its id, with its publisher; None for none. Whose it is, the caller asks."""
    number = parse(uid, "po")
    rows = Payout.objects.filter(public_id=number, book=current_book(book)) if number is not None else None
    return rows.select_related("publisher__workspace").first() if rows is not None else None


def open_by_hand(*, book: str | None = None) -> list[Payout]:
    """What the operator is to pay by hand, the oldest first."""
    rows = Payout.objects.filter(method=Method.MANUAL, status=Payout.Status.NEW, book=current_book(book))
    return list(rows.select_related("publisher__workspace").order_by("created_at"))


def under_way(*, book: str | None = None) -> list[Payout]:
    """All payouts that are not decided, the oldest first."""
    rows = Payout.objects.filter(status=Payout.Status.NEW, book=current_book(book))
    return list(rows.select_related("publisher__workspace").order_by("created_at"))


def of_nobody(*, limit: int, book: str | None = None) -> list[Payout]:
    """Payouts that failed or came back after their publisher's workspace was deleted, of publishers to whom nothing was
    paid or begun since: nobody but the operator hears of them. The newest first."""
    since = Payout.objects.filter(
        publisher=OuterRef("publisher"),
        book=OuterRef("book"),
        status__in=[Payout.Status.NEW, Payout.Status.PAID],
        pk__gt=OuterRef("pk"),
    )
    rows = Payout.objects.filter(
        ~Exists(since),
        book=current_book(book),
        status__in=[Payout.Status.FAILED, Payout.Status.RETURNED],
        publisher__workspace__closed_at__isnull=False,
    )
    return list(rows.select_related("publisher__workspace").order_by("-settled_at", "-pk")[:limit])


def strays(*, book: str | None = None) -> list[Payout]:
    """Payouts that failed here and were paid at Stripe nevertheless, and not reversed since, the oldest first."""
    rows = Payout.objects.filter(book=current_book(book)).exclude(stray_id="")
    return list(rows.select_related("publisher").order_by("pk"))


def held(*, book: str | None = None) -> list[PayoutAccount]:
    """Whose payouts are on hold, the oldest hold first."""
    rows = PayoutAccount.objects.filter(held_at__isnull=False, book=current_book(book))
    return list(rows.select_related("publisher__workspace", "held_by").order_by("held_at"))
