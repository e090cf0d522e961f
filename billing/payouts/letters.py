"""Mails about payouts, to those of a publisher's workspace who look after its money and to the installation's staff."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse

from billing.letters import dollars, to_payers, to_staff
from billing.models.payouts import BankArrival, Method, Payout, PayoutAccount
from marketplace.models import Publisher, User


def tell_paid(row: Payout) -> None:
    """A payout was made."""
    amount = dollars(row.amount_micros)
    if row.method == Method.STRIPE:
        how = "It is in your balance at Stripe, which sends it on to your bank."
    else:
        how = "The operator of this installation has paid it to the account that you gave."
        how += f" Reference: {row.transfer_id}" if row.transfer_id else ""
    _mail(
        row.publisher,
        f"{row.publisher.name}: {amount} was paid out",
        f"{amount} of what {row.publisher.name} earned was paid out.\n\n{how}\n",
    )


def tell_failed(row: Payout) -> None:
    """A payout was not made."""
    amount = dollars(row.amount_micros)
    _mail_or_staff(
        row.publisher,
        f"{row.publisher.name}: a payout of {amount} failed",
        f"{amount} could not be paid out: {row.failure}\n\n"
        "Nothing is lost: it can be paid out again as soon as that is settled.\n",
    )


def tell_returned(row: Payout, amount_micros: int) -> None:
    """Money that had been paid out came back."""
    amount = dollars(amount_micros)
    _mail_or_staff(
        row.publisher,
        f"{row.publisher.name}: {amount} of a payout came back",
        f"Of the payout of {dollars(row.amount_micros)} on {row.created_at:%-d %B %Y}, {amount} came back. It counts "
        "as not paid, and goes into the next payout.\n",
    )


def tell_bank_failed(row: BankArrival) -> None:
    """The publisher's bank sent money back, which waits at Stripe."""
    _mail_or_staff(
        row.publisher,
        f"{row.publisher.name}: your bank sent money back to Stripe",
        f"Stripe sent {row.amount / 100:,.2f} {row.currency.upper()} to your bank, which sent it back"
        f"{f': {row.failure}' if row.failure else '.'}\n\n"
        "It waits in your balance at Stripe. Correct the bank account there, and Stripe sends it again.\n",
    )


def tell_account(account: PayoutAccount) -> None:
    """Where money goes to cannot be paid to any more, or can be again."""
    name = account.publisher.name
    if account.is_connected:
        _mail(
            account.publisher,
            f"{name}: payouts are set up",
            f"What {name} earns can be paid out now.\n",
        )
    else:
        _mail(
            account.publisher,
            f"{name}: payouts have to wait",
            f"Stripe says of the account that {name} is paid to: {account.get_state_display().lower()}. Until that is "
            "settled nothing can be paid out; what is earned is kept for you.\n",
        )


def tell_changed(account: PayoutAccount, by: User | None, what: str) -> None:
    """Where money goes to was changed: whoever did not do that should know at once."""
    name = account.publisher.name
    _mail(
        account.publisher,
        f"{name}: {what}",
        f"{by.email if by else 'The operator'} changed where or how {name} is paid: {what}.\n\n"
        "If that is not right, tell the operator of this installation at once.\n",
    )


def tell_hold(account: PayoutAccount) -> None:
    """The operator holds payouts back, or does not any more."""
    name = account.publisher.name
    if account.is_held:
        _mail(
            account.publisher,
            f"{name}: payouts are on hold",
            f"The operator of this installation holds back what {name} earned: {account.hold_reason}\n\n"
            "Earnings are counted as before. They are paid out once the hold is lifted.\n",
        )
    else:
        _mail(
            account.publisher,
            f"{name}: payouts go on",
            f"The operator has lifted the hold on the payouts of {name}.\n",
        )


def tell_share(publisher: Publisher, before: str) -> None:
    """The publisher keeps another share from now on."""
    now = f"{publisher.share_percent.normalize():f} %"
    _mail(
        publisher,
        f"{publisher.name}: your share is {now} from now on",
        f"Of each charge {publisher.name} gets {now}, and got {before} so far. Runs that have ended keep the old "
        "share.\n",
    )


def tell_waiting(row: Payout) -> None:
    """To staff: the platform's balance does not cover a payout."""
    amount = dollars(row.amount_micros)
    to_staff(
        f"The balance at Stripe does not cover a payout of {amount}",
        f"{row.publisher.name} is to get {amount}, and the platform's available balance at Stripe is lower. What is "
        "pending there becomes available by itself; else add funds. The payout is tried again every quarter of an "
        "hour.\n",
    )


def tell_manual(row: Payout) -> None:
    """To staff: somebody is to be paid by hand."""
    amount = dollars(row.amount_micros)
    to_staff(
        f"{row.publisher.name} is to be paid {amount}",
        f"{row.publisher.name} is to be paid {amount} by hand.\n\n"
        f"Where to, and saying that it was done: {settings.PUBLIC_URL}{reverse('payouts-console')}\n",
    )


def tell_stray(row: Payout) -> None:
    """To staff: Stripe has paid what counts as not paid here."""
    amount = dollars(row.amount_micros)
    to_staff(
        f"A payout of {amount} that had failed was paid at Stripe",
        f"{row.uid} to {row.publisher.name} had failed here, and its amount can be paid out again; transfer "
        f"{row.stray_id} paid it nevertheless. So that it is not paid twice, hold the payouts of {row.publisher.name} "
        "back and reverse the transfer at Stripe.\n\n"
        f"What to do: {settings.PUBLIC_URL}{reverse('books')}\n",
    )


def _mail(publisher: Publisher, subject: str, text: str) -> None:
    page = f"\nPayouts: {settings.PUBLIC_URL}{reverse('payouts')}?publisher={publisher.name}\n"
    to_payers(publisher.workspace, subject, text + page)


def _mail_or_staff(publisher: Publisher, subject: str, text: str) -> None:
    """The same; where the workspace was deleted, and nobody is left in it, to staff."""
    closed_at = publisher.workspace.closed_at
    if closed_at is None:
        _mail(publisher, subject, text)
        return
    to_staff(
        f"{subject}, and its workspace is deleted",
        f"The workspace of {publisher.name} was deleted on {closed_at:%-d %B %Y}, so nobody there is told this:\n\n"
        f"{text}\nPayouts: {settings.PUBLIC_URL}{reverse('payouts-console')}\n",
    )
