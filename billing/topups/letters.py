"""Mails about credit, to those of a workspace who look after it and to the staff of the installation.

Each is an outbox row in the transaction that causes it, and so is sent once.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.urls import reverse

from billing.models.credit import AutoTopUp, Dispute, TopUp, TopUpRefund
from marketplace import mail, people
from marketplace.models import User, Workspace
from marketplace.people import Act

MICROS = 1_000_000
WHY = {
    AutoTopUp.Pause.AUTHENTICATION: (
        "The bank wants somebody to confirm the payment, which nobody can do for you. Buy credit once by hand with the "
        "same card and keep it saved; then automatic top-ups go on by themselves."
    ),
    AutoTopUp.Pause.DECLINED: (
        "The card was declined, and nothing was charged. Save another card, or buy credit by hand; with a new card "
        "automatic top-ups go on by themselves. Where the card works again, press Try again."
    ),
    AutoTopUp.Pause.NO_CARD: (
        "No card is saved any more. Save one, and automatic top-ups go on by themselves."
    ),
    AutoTopUp.Pause.DISPUTED: (
        "A payment to this workspace is disputed with the card's bank. While that is open nothing is charged by itself."
    ),
}


def tell_refilled(top_up: TopUp) -> None:
    """Credit was bought by itself."""
    name, amount = top_up.workspace.name, dollars(top_up.amount_micros)
    _mail_payers(
        top_up.workspace,
        f"{name}: {amount} of credit was bought automatically",
        f"{name} ran low, so {amount} of credit was bought with the saved card, as you had set it up.\n\n"
        f"What was bought, and how to change or stop it: {_page()}\n",
    )


def tell_paused(row: AutoTopUp) -> None:
    """Automatic top-ups rest, and runs may be refused soon."""
    name = row.workspace.name
    said = f'\nThe bank said: "{row.pause_detail}"\n' if row.pause_detail else ""
    _mail_payers(
        row.workspace,
        f"{name}: automatic top-ups are paused",
        f"Automatic top-ups of {name} are paused.\n\n{WHY[AutoTopUp.Pause(row.pause)]}\n{said}\n"
        "Runs go on until the credit ends; then new ones are refused. Those that were accepted are not affected.\n\n"
        f"Credit and card: {_page()}\n",
    )


def tell_capped(row: AutoTopUp) -> None:
    """The month's cap keeps credit from being bought."""
    name, cap = row.workspace.name, dollars(row.month_micros)
    _mail_payers(
        row.workspace,
        f"{name}: this month's cap on automatic top-ups is reached",
        f"{name} has run low. Buying more by itself would go above the {cap} that you allowed for a month, so nothing "
        "was charged. It goes on by itself on the 1st (UTC), or when you raise the cap.\n\n"
        f"Credit and cap: {_page()}\n",
    )


def tell_refund(refund: TopUpRefund) -> None:
    """A refund has been made, or could not be."""
    workspace, amount = refund.top_up.workspace, dollars(refund.amount_micros)
    if refund.status == TopUpRefund.Status.DONE:
        subject = f"{workspace.name}: {amount} of credit was refunded"
        text = (
            f"{amount} of unspent credit went back to the card it was bought with"
            f"{f', {cents(refund.cents)} with tax' if refund.cents * 10_000 != refund.amount_micros else ''}. "
            "Banks take some days to show it.\n\n"
        )
    else:
        subject = f"{workspace.name}: {amount} could not be refunded"
        text = (
            f"The card's bank did not take {amount} back, so the credit is yours to spend again.\n"
            f"{refund.failure}\n\n"
        )
    _mail_payers(workspace, subject, f"{text}Credit: {_page()}\n")


def tell_dispute(dispute: Dispute, *, lost_micros: int) -> None:
    """Money was taken back by a bank: staff must answer it, and the workspace has less to spend."""
    workspace, amount = dispute.top_up.workspace, dollars(dispute.amount_micros)
    _mail_payers(
        workspace,
        f"{workspace.name}: a payment of {amount} is disputed",
        f"The owner of the card that bought {amount} of credit for {workspace.name} disputes the payment, and the "
        "bank has taken the money back. Unspent credit is withdrawn with it until that is decided.\n"
        "If this is a mistake, have the card's owner tell their bank.\n\n"
        f"Credit: {_page()}\n",
    )
    _mail_staff(
        f"Dispute {dispute.dispute_id}: {amount} of {workspace.slug}",
        f"Workspace {workspace.slug} ({workspace.name}), top-up {dispute.top_up.uid}, reason {dispute.reason or '–'}.\n"
        f"{dollars(lost_micros)} of it was spent already and is a loss for now. Answer it at Stripe.\n",
    )


def tell_nobodys(top_up: TopUp) -> None:
    """A payment came for a workspace that had been closed: nobody in it can spend it, or ask for it back."""
    amount = dollars(top_up.amount_micros)
    _mail_staff(
        f"{amount} was paid for a workspace that is closed",
        f"The payment page of {top_up.uid} was open when workspace {top_up.workspace.slug} was closed, and was paid "
        f"since. `manage.py credit refund {top_up.uid} {top_up.amount_micros / MICROS:.2f}` sends it back.\n",
    )


def tell_differences(subject: str, lines: Sequence[str]) -> None:
    """What the comparison with Stripe could not mend, to staff."""
    shown = "\n".join(f"- {line}" for line in lines[:50])
    more = f"\n… and {len(lines) - 50} more" if len(lines) > 50 else ""
    _mail_staff(subject, f"{shown}{more}\n\nSee `manage.py credit reconcile`.\n")


def dollars(micros: int) -> str:
    """$25.00, and with as many decimals as the amount has: $0.0125."""
    whole = f"{micros / MICROS:,.6f}".rstrip("0")
    decimals = len(whole) - whole.index(".") - 1
    return f"${whole}{'0' * max(0, 2 - decimals)}"


def cents(amount: int) -> str:
    return f"${amount / 100:,.2f}"


def _page() -> str:
    return f"{settings.PUBLIC_URL}{reverse('billing')}"


def _mail_payers(workspace: Workspace, subject: str, body: str) -> None:
    members = workspace.memberships.select_related("user").filter(user__is_active=True).order_by("pk")
    for member in members:
        if people.may(member.role, Act.BILLING):
            mail.post(member.user.email, subject=subject, body=body)


def _mail_staff(subject: str, body: str) -> None:
    for user in User.objects.filter(is_staff=True, is_active=True).order_by("pk"):
        mail.post(user.email, subject=subject, body=body)
