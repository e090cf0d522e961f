"""Every page as owner, as member of each role, as outsider and as visitor: a table over the whole URL map.

An address that is not in the table fails, so that nobody adds one without deciding who may open it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from billing import ledger, limits, topups
from marketplace import keys, people
from marketplace.ids import encode
from marketplace.models import ApiKey, Invitation, Listing, Membership, Price, Publisher, User, Workspace
from marketplace.people import Act
from playground import webhooks
from playground.facades import dialects
from playground.models import Delivery, Prediction, Share, Webhook
from playground.predictions import share as sharing

ROLES = [role.value for role in Membership.Role]
# Names whose pages anybody opens, with what a visitor gets; what is private in them is tested with them.
OPEN = {
    **dict.fromkeys(["gallery", "docs", "llms", "llms-full"], 200),
    **dict.fromkeys(
        ["model", "model-api", "model-readme", "model-examples", "model-versions", "model-runs"], 200
    ),
    **dict.fromkeys(["model-form", "model-run"], 302),
    "model-estimate": 405,
    "healthz": 503,  # no engine and no control here
    "shared": 200,
    "shared-media": 302,
    "stripe-webhook": 405,  # who signs as Stripe does
    "metrics": 404,  # for staff, the machine itself, and a token
}
# For staff of the installation, and whoever sits at the machine.
STAFF = {"components": 200, "mailbox": 200, "letter": 404}
# django-allauth's own, and invitations: tested in tests/people; Stripe's pages, as the sandbox has them: in
# tests/pages/test_sandbox.py.
ELSEWHERE = ("account", "mfa_", "usersessions_", "invitation", "hosted-")
# What a member's role must allow. OBJECTS belong to one workspace: for an outsider they are not there.
LISTS = {
    "balance": None,
    "history": Act.SEE,
    "history-all": Act.SEE,
    "history-rows": Act.SEE,
    "history-export": Act.SEE,
    "history-download": Act.SEE,
    "history-cancel": Act.RUN,
    "history-delete": Act.RUN,
    "history-undo": Act.RUN,
    "usage": Act.SEE,
    "usage-csv": Act.SEE,
    "usage-books": Act.SEE,
    "usage-limits": Act.BILLING,
    "limits": Act.SEE,
    "publish": Act.SEE,
    "publisher-settings": Act.PUBLISHER,
    "publisher-close": Act.PUBLISHER,
    "publisher-reopen": Act.PUBLISHER,
    "publish-prices": Act.PUBLISH,
    "billing": Act.BILLING,
    "billing-automatic": Act.BILLING,
    "billing-card": Act.BILLING,
    "billing-card-remove": Act.BILLING,
    "billing-coupon": Act.BILLING,
    "billing-portal": Act.BILLING,
    "topup-new": Act.BILLING,
    "earnings": Act.SEE,
    "earnings-csv": Act.SEE,
    "earnings-books": Act.SEE,
    "statement": Act.SEE,
    "statement-csv": Act.SEE,
    "payouts": Act.BILLING,
    "payout-request": Act.BILLING,
    "payout-wishes": Act.BILLING,
    "payout-method": Act.BILLING,
    "payout-connect": Act.BILLING,
    "payout-again": Act.BILLING,
    "payout-return": Act.BILLING,
    "payout-dashboard": Act.BILLING,
    "invoices": Act.SEE,
    "invoice": Act.SEE,
    "invoice-pdf": Act.SEE,
    "invoice-recipient": Act.BILLING,
    "keys": Act.KEYS,
    "key-new": Act.KEYS,
    "webhooks": Act.WEBHOOKS,
    "request-secret": Act.WEBHOOKS,
    "request-deliveries": Act.WEBHOOKS,
    "members": Act.SEE,
    "member-invite": Act.MEMBERS,
    "member-leave": Act.SEE,
    "settings": Act.SEE,
    "workspace-delete": Act.CLOSE,
    "switch": None,
    "workspaces": None,
    "workspace-new": None,
}
OBJECTS = {
    "prediction": Act.SEE,
    "prediction-card": Act.SEE,
    "prediction-acts": Act.SEE,
    "prediction-receipt": Act.SEE,
    "prediction-zip": Act.SEE,
    "prediction-cancel": Act.RUN,
    "prediction-again": Act.RUN,
    "prediction-delete": Act.RUN,
    "prediction-share": Act.RUN,
    "prediction-revoke": Act.RUN,
    "prediction-example": Act.PUBLISH,
    "limit": Act.BILLING,
    "model-prices": Act.PUBLISH,
    "publish-model": Act.PUBLISH,
    "publish-model-pause": Act.PUBLISH,
    "model-prices-preview": Act.PUBLISH,
    "topup": Act.BILLING,
    "topup-refund": Act.BILLING,
    "publisher-run": Act.SEE,
    "publisher-refund": Act.BILLING,
    "key": Act.KEYS,
    "key-rotate": Act.KEYS,
    "key-revoke": Act.KEYS,
    "webhook": Act.WEBHOOKS,
    "webhook-act": Act.WEBHOOKS,
    "delivery": Act.WEBHOOKS,
    "redeliver": Act.WEBHOOKS,
    "request-delivery": Act.WEBHOOKS,
    "request-redeliver": Act.WEBHOOKS,
    "member-role": Act.MEMBERS,
    "member-remove": Act.MEMBERS,
    "invitation-resend": Act.MEMBERS,
    "invitation-revoke": Act.MEMBERS,
}

# The operator's own: nobody else finds a page there, whatever their role in a workspace.
OPERATORS = (
    *("engines", "engine-act", "payouts-console", "payouts-console-act", "refunds", "refund"),
    *("sandbox", "sandbox-act", "books", "books-run", "books-event"),
)

TOLD_ON_THE_LIST = (
    "member-role",
    "member-remove",
    "invitation-resend",
    "invitation-revoke",
)  # of one's own workspace


@dataclass
class House:
    """A workspace with one of everything, somebody of each role in it, and others."""

    people: dict[str, Client]
    addresses: dict[str, str]
    workspace: Workspace

    def state(self) -> list[object]:
        """What must not change by an act that was refused."""
        return [
            list(Prediction.objects.order_by("pk").values_list("pk", "status", "deletion")),
            list(Share.objects.order_by("pk").values_list("pk", "revoked_at")),
            list(ApiKey.objects.order_by("pk").values_list("pk", "secret_sha256", "revoked_at")),
            list(Webhook.objects.order_by("pk").values_list("pk", "secret", "is_enabled")),
            list(Delivery.objects.order_by("pk").values_list("pk", "next_attempt_at")),
            list(Invitation.objects.order_by("pk").values_list("pk", "revoked_at", "token_sha256")),
            list(topups.TopUp.objects.order_by("pk").values_list("pk", "status", "refunded_micros")),
            list(Membership.objects.order_by("pk").values_list("pk", "role")),
            list(Price.objects.order_by("pk").values_list("pk", "unit_price", "effective_from")),
            list(Publisher.objects.order_by("pk").values_list("pk", "name", "title", "closed_at")),
            list(Listing.objects.order_by("pk").values_list("pk", "tagline", "visibility", "paused_at")),
            [(one.uid, one.limit_micros) for one in limits.of(self.workspace)],
        ]


def names():
    """Of all pages: what programs call has tests of its own."""
    spoken = {pattern.name for pattern in dialects.routes()}
    for pattern in get_resolver().url_patterns:
        assert isinstance(pattern, URLPattern)
        if not str(pattern.pattern).startswith("api/") and pattern.name not in spoken:
            yield pattern.name


@pytest.fixture
def house(world):
    made = world.made()
    link = sharing.share(made, by=None)
    key, _ = keys.make(world.workspace, name="ours")
    webhook = webhooks.make(world.workspace, url="https://example.test/hook")
    webhooks.send_test(webhook)
    delivery = Delivery.objects.get()
    of_request = Delivery.objects.create(
        workspace=world.workspace,
        prediction=made,
        event_id=made.public_id,
        event="prediction.succeeded",
        url="https://example.test/mine",
        target="mine",
        body="{}",
    )
    clients, rows = {"visitor": world.nobody, "outsider": world.mal, "owner": world.ada}, {}
    for role in ROLES[1:]:
        user = User.objects.create_user(f"{role}@example.test", "a long password")
        rows[role] = Membership.objects.create(user=user, workspace=world.workspace, role=role)
        clients[role] = Client()
        clients[role].force_login(user)
    owner = world.workspace.memberships.get(role="owner").user
    invitation = people.invite(
        world.workspace, "new@example.test", "developer", by=owner, link=lambda token: f"/invitations/{token}"
    )
    Publisher.objects.update(workspace=world.workspace)  # the model is their own
    limit = limits.put(world.workspace, kind="workspace", period="day", limit_micros=9_000_000)
    top_up = topups.attempt(world.workspace, 5_000_000, by=None)
    arguments = {
        "<str:limit_id>": limit.uid,
        "<str:topup_id>": top_up.uid,
        "<slug:publisher>/<slug:name>": world.model,
        "<str:prediction_id>": made.uid,
        "<str:token>": link.token,
        "<int:number>": "1",
        "<str:key_id>": key.uid,
        "<str:webhook_id>": webhook.uid,
        "<str:delivery_id>": delivery.uid,
        "<str:member_id>": encode(rows["billing"].user.public_id, "u"),
        "<str:invitation_id>": encode(invitation.public_id, "i"),
        "<str:form>": "csv",
        "<str:month>": f"{timezone.now():%Y-%m}",
        "<slug:act>/<str:target>": "drain/nobody",
    }
    found = {}
    for pattern in get_resolver().url_patterns:
        address = "/" + str(pattern.pattern)
        if pattern.name == "request-secret":
            address = address.replace("<slug:act>", "rotate")
        if pattern.name in {"request-delivery", "request-redeliver"}:
            address = address.replace("<str:delivery_id>", of_request.uid)
        for part, value in arguments.items():
            address = address.replace(part, value)
        address = address.replace("<slug:act>", "pause")
        found[pattern.name] = address
    ledger.balance(world.workspace.pk)
    return House(clients, found, world.workspace)


def test_every_address_has_a_rule():
    decided = {*OPEN, *LISTS, *OBJECTS, *STAFF, *OPERATORS}
    unknown = {name for name in names() if name not in decided and not name.startswith(ELSEWHERE)}
    assert unknown == set()
    assert decided <= set(names())


def test_what_is_open_is_open(house):
    answers = {name: house.people["visitor"].get(house.addresses[name]).status_code for name in OPEN}
    assert answers == OPEN


@pytest.mark.parametrize("how", ["get", "post"])
def test_visitors_are_asked_to_sign_in(house, how):
    before = house.state()
    for name in {**LISTS, **OBJECTS}:
        answer = getattr(house.people["visitor"], how)(house.addresses[name])
        where = answer.headers.get("Location", "")
        assert answer.status_code == 405 or where.startswith("/accounts/login?next="), (
            name,
            answer.status_code,
        )
    assert house.state() == before


def test_what_is_for_staff(house, settings):
    """No role of a workspace opens it; who sits at the machine of a fresh install is trusted with it."""
    boss, user = Client(), User.objects.create_user("boss@example.test", "a long password")
    User.objects.update(is_staff=False)  # as the first one is
    User.objects.filter(pk=user.pk).update(is_staff=True)
    boss.force_login(user)
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    for name, status in STAFF.items():
        address = house.addresses[name].replace("<str:name>", "nothing")
        assert house.people["visitor"].get(address)["Location"].startswith("/accounts/login?next="), name
        for who in ("outsider", *ROLES):
            assert house.people[who].get(address).status_code == 404, (who, name)
        assert boss.get(address).status_code == status, name
        assert house.people["visitor"].get(address, HTTP_HOST="localhost").status_code == status, name
        assert house.people["visitor"].post(address).status_code == 405, name


@pytest.mark.parametrize("how", ["get", "post"])
def test_what_is_for_operators_is_for_no_role(house, how):
    User.objects.update(is_staff=False)  # the first person who signs up is
    before = house.state()
    for name in OPERATORS:
        visitor = getattr(house.people["visitor"], how)(house.addresses[name])
        assert (
            visitor.headers.get("Location", "").startswith("/accounts/login?next=")
            or visitor.status_code == 405
        )
        for who in ("outsider", *ROLES):
            assert getattr(house.people[who], how)(house.addresses[name]).status_code in {404, 405}, (
                name,
                who,
            )
    assert house.state() == before


@pytest.mark.parametrize("how", ["get", "post"])
def test_for_outsiders_nothing_is_there(house, how):
    """The answer is that for an id which never was, so nobody learns which ids exist."""
    before = house.state()
    for name in OBJECTS:
        answer = getattr(house.people["outsider"], how)(house.addresses[name])
        said = {404, 405} | ({302} if name in TOLD_ON_THE_LIST else set())
        assert answer.status_code in said, (name, answer.status_code)
    assert house.state() == before


@pytest.mark.parametrize("role", ROLES)
def test_members_get_what_their_role_allows(house, role):
    for name, act in {**LISTS, **OBJECTS}.items():
        status = house.people[role].get(house.addresses[name]).status_code
        if act is None or people.may(role, act):
            assert status in {200, 204, 302, 404, 405}, (name, status)
        else:
            assert status in {403, 405}, (name, status)


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_forbids_changes_nothing(house, role):
    before = house.state()
    for name, act in {**LISTS, **OBJECTS}.items():
        if act is not None and not people.may(role, act):
            status = house.people[role].post(house.addresses[name]).status_code
            assert status in {403, 405}, (name, status)
    assert house.state() == before
