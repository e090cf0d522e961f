"""What the sandbox tells: signed as Stripe signs, tried again, late, twice, out of order, or never."""

from __future__ import annotations

import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import stripe
from django.utils import timezone

from billing.gateway.client import client, webhook_secrets
from billing.sandbox import clockwork, delivery, events, modes, store
from billing.sandbox.models import Notice, Thing

pytestmark = pytest.mark.django_db


@pytest.fixture
def listener(settings):
    """A server in place of this site's own, which keeps what it hears and answers what it is told to."""

    class Listener(HTTPServer):
        heard: list[tuple[bytes, str]] = []
        status = 200

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.heard.append((self.path, body, self.headers["Stripe-Signature"]))
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Says nothing."""

    with Listener(("127.0.0.1", 0), Handler) as server:
        server.heard = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings.STRIPE_SANDBOX_URL = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def tell(type="customer.updated"):
    customer = Thing.objects.filter(kind="customer").first() or store.put("customer", {}, now=timezone.now())
    return events.tell(type, customer.data, now=timezone.now())


def test_a_notice_is_signed_and_whole(listener):
    event = tell()
    assert delivery.deliver_due() == 1
    ((path, body, signature),) = listener.heard
    assert path == "/stripe/webhook"
    found = client().construct_event(body, signature, webhook_secrets()[-1])
    assert (found.id, found.type, found.data.object.object) == (event.name, "customer.updated", "customer")
    with pytest.raises(stripe.SignatureVerificationError):
        client().construct_event(body + b" ", signature, webhook_secrets()[-1])
    assert delivery.deliver_due() == 0
    assert events.pending(event)["pending_webhooks"] == 0


def test_a_thin_notice_names_its_object(listener):
    url = "/v2/core/accounts/acct_1"
    kind = "v2.core.account[configuration.recipient].capability_status_updated"
    events.tell_thinly(kind, "acct_1", kind="v2.core.account", url=url, now=timezone.now())
    delivery.deliver_due()
    ((_, body, signature),) = listener.heard
    found = client().parse_event_notification(body, signature, webhook_secrets()[-1])
    assert (found.type, found.related_object.id) == (kind, "acct_1")
    assert type(found).__name__ == (
        "V2CoreAccountIncludingConfigurationRecipientCapabilityStatusUpdatedEventNotification"
    )


def test_what_is_not_heard_is_told_again_and_then_given_up(listener):
    tell()
    listener.status = 500
    now = timezone.now()
    for _ in range(6):
        delivery.deliver_due(now=now)
        now += timedelta(hours=1)
    assert len(listener.heard) == 1 + len(delivery.RETRY_SECONDS)
    assert Notice.objects.get().state == "given_up"
    listener.status = 200
    assert delivery.send_again(Thing.objects.get(kind="event").name) == 1
    assert delivery.deliver_due() == 1


def test_modes_of_delivery(listener):
    modes.change(webhook_copies=3, webhook_delay_seconds=60)
    tell()
    assert delivery.deliver_due() == 0
    assert delivery.deliver_due(now=timezone.now() + timedelta(seconds=61)) == 3
    modes.change(webhook_copies=1, webhook_delay_seconds=0, webhooks="withheld")
    tell()
    assert delivery.deliver_due(now=timezone.now() + timedelta(days=1)) == 0
    assert (len(delivery.withheld()), delivery.release(), delivery.deliver_due()) == (1, 1, 1)
    modes.change(webhooks="sent", webhook_disorder_seconds=3600)
    told = [tell().pk for _ in range(12)]
    due = list(Notice.objects.filter(event__in=told).order_by("due_at").values_list("event", flat=True))
    assert sorted(due) == told
    assert due != told  # once in 12! they would come in order all the same


def test_others_may_listen(listener, stripe_ask):
    port = listener.server_port
    made = stripe_ask(
        "/v1/webhook_endpoints",
        {"url": f"http://127.0.0.1:{port}/mine", "enabled_events": ["customer.updated"]},
    )
    tell()
    tell("customer.created")
    delivery.deliver_due()
    mine = [(body, signature) for path, body, signature in listener.heard if path == "/mine"]
    assert len(mine) == 1
    assert client().construct_event(*mine[0], made["secret"]).type == "customer.updated"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "https://example.com/", "file:///etc/passwd", "http://[::ffff:1.2.3.4]/"]
)
def test_it_reaches_nobody_else(stripe_ask, url):
    answer = stripe_ask("/v1/webhook_endpoints", {"url": url, "enabled_events": ["*"]}, status=400)
    assert answer["error"]["param"] == "url"


@pytest.fixture
def stripe_ask():
    from billing.sandbox import asking, rooms  # noqa: F401

    def ask(path, given, status=200):
        answer = asking.answer("post", path, given, now=timezone.now(), is_text=False)
        assert answer.status == status, answer.body
        return answer.body

    return ask


def test_old_events_are_forgotten():
    tell()
    clockwork.forget_old(timezone.now() + timedelta(days=29))
    assert Thing.objects.filter(kind="event").count() == 1
    clockwork.forget_old(timezone.now() + timedelta(days=31))
    assert (Thing.objects.filter(kind="event").count(), Notice.objects.count()) == (0, 0)


def test_a_key_is_forgotten_after_a_day(stripe_ask):
    from billing.sandbox import asking

    now = timezone.now()
    made = [
        asking.answer("post", "/v1/customers", {}, now=now + later, is_text=True, key="k").body["id"]
        for later in (timedelta(0), timedelta(hours=23), timedelta(hours=25))
    ]
    assert made[0] == made[1] != made[2]
