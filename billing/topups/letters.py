"""Mails about credit, to those of a workspace who look after it and to the staff of the installation."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.urls import reverse

from billing import ledger
from billing.letters import MICROS, dollars, to_payers, to_staff
from billing.models.credit import AutoTopUp, Dispute, TopUp, TopUpRefund
from marketplace.models import Workspace

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
    to_payers(
        top_up.workspace,
        f"{name}: {amount} of credit was bought automatically",
        f"{name} ran low, so {amount} of credit was bought with the saved card, as you had set it up.\n\n"
        f"What was bought, and how to change or stop it: {_page()}\n",
    )


def tell_paused(row: AutoTopUp, why: AutoTopUp.Pause) -> None:
    """Automatic top-ups rest, and runs may be refused soon."""
    name = row.workspace.name
    detail = row.pause_detail if why == row.pause else ""
    said = f'\nThe bank said: "{detail}"\n' if detail else ""
    to_payers(
        row.workspace,
        f"{name}: automatic top-ups are paused",
        f"Automatic top-ups of {name} are paused.\n\n{WHY[why]}\n{said}\n"
        "Runs go on until the credit ends; then new ones are refused. Those that were accepted are not affected.\n\n"
        f"Credit and card: {_page()}\n",
    )


def tell_capped(row: AutoTopUp) -> None:
    """The month's cap keeps credit from being bought."""
    name, cap = row.workspace.name, dollars(row.month_micros)
    to_payers(
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
    to_payers(workspace, subject, f"{text}Credit: {_page()}\n")


def tell_dispute(dispute: Dispute, taken: ledger.Withdrawn) -> None:
    """Money was taken back by a bank: staff must answer it, and the workspace has less to spend."""
    workspace, amount = dispute.top_up.workspace, dollars(dispute.amount_micros)
    spent = dollars(taken.owed_micros)
    to_payers(
        workspace,
        f"{workspace.name}: a payment of {amount} is disputed",
        f"The owner of the card that bought {amount} of credit for {workspace.name} disputes the payment, and the "
        "bank has taken the money back. Unspent credit is withdrawn with it until that is decided.\n"
        + (
            f"{spent} of it was spent already. If the dispute is lost, that is taken from the credit that is bought "
            "next.\n"
            if taken.owed_micros
            else ""
        )
        + "If this is a mistake, have the card's owner tell their bank.\n\n"
        f"Credit: {_page()}\n",
    )
    to_staff(
        f"Dispute {dispute.dispute_id}: {amount} of {workspace.slug}",
        f"Workspace {workspace.slug} ({workspace.name}), top-up {dispute.top_up.uid}, reason {dispute.reason or '–'}.\n"
        f"{spent} of it was spent already: {dollars(taken.shares_micros)} is kept back from publishers of the runs "
        f"that it paid for, {dollars(taken.lost_micros)} is a loss for now. Answer it at Stripe.\n",
    )


def tell_made_good(workspace: Workspace, amount_micros: int) -> None:
    """Credit went to what was owed for a dispute; nothing is said of nothing."""
    if not amount_micros:
        return
    amount = dollars(amount_micros)
    to_payers(
        workspace,
        f"{workspace.name}: {amount} of credit went to a lost dispute",
        f"A payment for credit of {workspace.name} was disputed and is lost, and its credit had been spent. {amount} "
        "of bought credit has made good for that now.\n\n"
        f"Credit: {_page()}\n",
    )


def tell_nobodys(top_up: TopUp) -> None:
    """A payment came for a workspace that had been closed: nobody in it can spend it, or ask for it back."""
    amount = dollars(top_up.amount_micros)
    to_staff(
        f"{amount} was paid for a workspace that is closed",
        f"The payment page of {top_up.uid} was open when workspace {top_up.workspace.slug} was closed, and was paid "
        f"since. `manage.py credit refund {top_up.uid} {top_up.amount_micros / MICROS:.2f}` sends it back.\n",
    )


def tell_differences(subject: str, lines: Sequence[str]) -> None:
    """What the comparison with Stripe could not mend, to staff."""
    shown = "\n".join(f"- {line}" for line in lines[:50])
    more = f"\n… and {len(lines) - 50} more" if len(lines) > 50 else ""
    to_staff(subject, f"{shown}{more}\n\nSee `manage.py credit reconcile`.\n")


def cents(amount: int) -> str:
    return f"${amount / 100:,.2f}"


def _page() -> str:
    return f"{settings.PUBLIC_URL}{reverse('billing')}"
