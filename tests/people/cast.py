"""A workspace with an owner, an admin, a developer and a bookkeeper, an outsider, and the post."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.core import mail as django_mail
from django.test import Client

from marketplace import mail, people
from marketplace.ids import encode
from marketplace.models import Membership, Outbox, User, Workspace
from tests.predictions import cast as runs

PASSWORD = "a long password"
ROLES = ("owner", "admin", "developer", "billing")


@dataclass
class Team:
    workspace: Workspace
    users: dict[str, User]  # by role; and the outsider

    def browser(self, role: str) -> Client:
        """A browser in which somebody of this role is signed in."""
        client = Client()
        if role != "nobody":
            client.force_login(self.users[role])
        return client

    def uid(self, role: str) -> str:
        return encode(self.users[role].public_id, "u")

    def role_of(self, role: str) -> str | None:
        """What the person who once had `role` is now."""
        return (
            Membership.objects.filter(workspace=self.workspace, user=self.users[role])
            .values_list("role", flat=True)
            .first()
        )


def team() -> Team:
    workspace = runs.payer(name="northlight")
    workspace.name = "Northlight"
    workspace.save()
    users = {
        role: User.objects.create_user(f"{role}@example.test", PASSWORD) for role in (*ROLES, "outsider")
    }
    for role in ROLES:
        Membership.objects.create(workspace=workspace, user=users[role], role=role)
    Membership.objects.create(workspace=runs.payer(name="elsewhere"), user=users["outsider"])
    return Team(workspace, users)


def letters() -> list[django_mail.EmailMessage]:
    """Every mail that was written until now, after the post has been round."""
    for row in Outbox.objects.filter(task=mail.SEND_TASK).order_by("id"):
        mail.send(row.pk)
    return django_mail.outbox


def link_in(letter: django_mail.EmailMessage) -> str:
    """The path of the first address in a mail."""
    found = re.search(r"https?://[^/\s]+(/\S+)", letter.body)
    assert found, letter.body
    return found[1]


def invite(team: Team, email: str, role: str = "developer", by: str = "owner") -> str:
    """Invite somebody; the token that only their mail has."""
    tokens: list[str] = []

    def link(token: str) -> str:
        tokens.append(token)
        return f"http://testserver/invitations/{token}"

    people.invite(team.workspace, email, role, by=team.users[by], link=link)
    return tokens[-1]
