"""Letters about money: who gets them, and how an amount is written in a sentence.

Each letter is an outbox row in the transaction that causes it, and so is sent once.
"""

from __future__ import annotations

from marketplace import mail, people
from marketplace.models import User, Workspace
from marketplace.people import Act

MICROS = 1_000_000
PLACES = 2


def to_payers(workspace: Workspace, subject: str, body: str) -> None:
    """To those of a workspace who look after its money."""
    people.tell(workspace, Act.BILLING, subject=subject, body=body)


def to_staff(subject: str, body: str) -> None:
    """To the staff of the installation."""
    for user in User.objects.filter(is_staff=True, is_active=True).order_by("pk"):
        mail.post(user.email, subject=subject, body=body)


def dollars(micros: int) -> str:
    """$25.00, and with as many decimals as the amount has: $0.0125, -$3.00."""
    decimals = f"{abs(micros) % MICROS:06d}".rstrip("0").ljust(PLACES, "0")
    return f"{'-' if micros < 0 else ''}${abs(micros) // MICROS:,}.{decimals}"
