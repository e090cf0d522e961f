"""The pages of webhooks: as owner, each role, outsider and visitor; what they show, and what their acts do."""

from __future__ import annotations

import re

import pytest

from playground import predictions, webhooks
from playground.models import Delivery, Webhook
from tests.pages.test_access import INLINE
from tests.webhooks import story

URL = "https://example.test/hooks"
LIST = "/dashboard/webhooks"
ACTS = ("change", "pause", "enable", "test", "reveal", "rotate", "delete")


@pytest.fixture
def hook(world):
    return webhooks.make(world.workspace, url=URL, description="<b>ours</b>")


@pytest.fixture
def sent(hook):
    return webhooks.send_test(hook)


def text(answer) -> str:
    return answer.content.decode()


def test_added_and_its_secret_shown_once(world):
    answer = world.ada.post(LIST, {"url": URL, "events": ["prediction.failed"], "description": "d"})
    row = Webhook.objects.get()
    assert answer["Location"] == f"{LIST}/{row.uid}"
    assert row.secret in text(world.ada.get(answer["Location"]))
    assert row.secret not in text(world.ada.get(answer["Location"]))
    assert URL in text(world.ada.get(LIST))
    assert answer["Cache-Control"]


@pytest.mark.parametrize(
    ("posted", "said"),
    [
        ({"url": "nonsense", "events": ["prediction.failed"]}, "It must start with"),
        ({"url": URL}, "Choose at least one"),
        ({"url": URL, "events": ["other"]}, "Choose at least one"),
        ({"url": "http://a\0b/", "events": ["prediction.failed"]}, "ASCII"),
    ],
)
def test_what_cannot_be_taken_is_said_beside_its_field(world, posted, said):
    answer = world.ada.post(LIST, posted)
    assert answer.status_code == 422
    assert said in text(answer)
    assert not Webhook.objects.exists()


def test_acts(world, hook):
    base = f"{LIST}/{hook.uid}"
    assert hook.secret in text(world.ada.post(f"{base}/reveal"))
    rotated = text(world.ada.post(f"{base}/rotate"))
    assert Webhook.objects.get().secret in rotated
    assert hook.secret not in rotated
    world.ada.post(f"{base}/pause")
    assert Webhook.objects.get().state == "paused"
    assert "It is paused" in text(world.ada.get(base))
    world.ada.post(f"{base}/enable")
    assert Webhook.objects.get().state == "enabled"
    world.ada.post(f"{base}/test")
    assert Delivery.objects.get().event == "webhook.test"
    world.ada.post(f"{base}/change", {"url": URL + "/2", "events": ["prediction.failed"]})
    assert (Webhook.objects.get().url, Webhook.objects.get().events) == (URL + "/2", ["prediction.failed"])
    assert world.ada.post(f"{base}/change", {"url": "x"}).status_code == 422
    assert world.ada.post(f"{base}/delete")["Location"] == LIST
    assert not Webhook.objects.exists()


def test_the_log_and_sending_again(world, hook):
    row = world.made()
    story.handle_outbox()
    sent = Delivery.objects.get()
    Delivery.objects.update(
        status="failed",
        next_attempt_at=None,
        attempts=[
            {
                "at": "2026-01-01T00:00:00",
                "url": URL,
                "status": 500,
                "duration_ms": 7,
                "answer": "<i>no</i>",
                "error": None,
            }
        ],
    )
    page = text(world.ada.get(f"{LIST}/{hook.uid}"))
    assert row.uid in page
    assert "500" in page
    assert "No such deliveries" in text(world.ada.get(f"{LIST}/{hook.uid}?status=delivered"))
    one = text(world.ada.get(f"{LIST}/{hook.uid}/log/{sent.uid}"))
    assert "&lt;i&gt;no&lt;/i&gt;" in one
    assert "prediction.succeeded" in one
    world.ada.post(f"{LIST}/{hook.uid}/log/{sent.uid}/again")
    assert Delivery.objects.get().status == "pending"


def test_pages_of_the_log(world, hook):
    for _ in range(31):
        webhooks.send_test(hook)
    first = text(world.ada.get(f"{LIST}/{hook.uid}"))
    older = re.search(r"before=(d_\w+)", first)[1]
    second = text(world.ada.get(f"{LIST}/{hook.uid}?before={older}"))
    assert second.count("webhook.test</a>") == 1
    assert first.count("webhook.test</a>") == 30


def addresses(hook, sent):
    base = f"{LIST}/{hook.uid}"
    return [("get", base), ("get", f"{base}/log/{sent.uid}"), ("post", f"{base}/log/{sent.uid}/again")] + [
        ("post", f"{base}/{act}") for act in ACTS
    ]


def test_to_others_there_is_none(world, hook, sent):
    own = webhooks.make(
        Webhook.objects.get().workspace.__class__.objects.exclude(pk=world.workspace.pk).last(), url=URL
    )
    for method, path in addresses(hook, sent):
        assert getattr(world.mal, method)(path).status_code == 404, path
        refused = getattr(world.nobody, method)(path)
        assert (refused.status_code, refused["Location"].partition("?")[0]) == (302, "/accounts/login")
    assert world.mal.post(f"{LIST}/{own.uid}/log/{sent.uid}/again").status_code == 404
    assert hook.uid not in text(world.mal.get(LIST))
    assert world.nobody.get(LIST).status_code == 302
    assert Webhook.objects.filter(pk=hook.pk, secret=hook.secret, is_enabled=True).exists()


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 200), ("admin", 200), ("developer", 200), ("billing", 403)]
)
def test_roles(world, hook, sent, role, status):
    world.workspace.memberships.update(role=role)
    assert world.ada.get(LIST).status_code == status
    for method, path in addresses(hook, sent):
        answer = getattr(world.ada, method)(path)
        assert (answer.status_code == 403) == (status == 403), path
    assert Webhook.objects.exists() == (status == 403)


def test_acts_need_post_and_a_token(world, hook):
    from django.test import Client

    for act in ACTS:
        assert world.ada.get(f"{LIST}/{hook.uid}/{act}").status_code == 405
    assert world.ada.post(f"{LIST}/{hook.uid}/explode").status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = world.ada.cookies
    assert strict.post(f"{LIST}/{hook.uid}/delete").status_code == 403


def test_what_is_written_is_text_and_secrets_stay_hidden(world, hook, sent):
    for method, path in [("get", LIST), *addresses(hook, sent)[:2]]:
        page = text(getattr(world.ada, method)(path))
        assert "<b>ours" not in page
        assert hook.secret not in page
        assert INLINE.search(page) is None


def test_the_request_secret(world):
    shown = text(world.ada.post(f"{LIST}/request-secret/reveal"))
    secret = webhooks.request_secret(world.workspace).secret
    assert secret in shown
    assert secret not in text(world.ada.get(LIST))
    world.ada.post(f"{LIST}/request-secret/rotate")
    assert webhooks.request_secret(world.workspace).secret != secret
    assert world.ada.post(f"{LIST}/request-secret/explode").status_code == 404


def test_a_run_tells_who_was_told(world, hook):
    row = world.made()
    story.handle_outbox()
    sent = Delivery.objects.get()
    shown = text(world.ada.get(f"/p/{row.uid}"))
    assert "Who was told" in shown
    assert "example.test" in shown
    assert "Pending" in shown
    assert f'href="{LIST}/{hook.uid}/log/{sent.uid}"' in shown
    assert URL in shown
    assert "Who was told" not in text(world.ada.get(f"/p/{world.run().uid}"))
    world.workspace.memberships.update(role="billing")  # who sees runs, and no webhooks
    shown = text(world.ada.get(f"/p/{row.uid}"))
    assert "example.test" in shown
    assert URL not in shown  # its path or query may hold a secret
    assert sent.uid not in shown


@pytest.fixture
def of_request(world):
    """What was sent to an address that one of Ada's runs named."""
    wanted = predictions.Request(
        model=world.model, input={"prompt": "a vase"}, webhook="https://mine.test/in?token=xyzzy"
    )
    story.ended(world.workspace, "canceled", request=wanted)
    return Delivery.objects.get(webhook=None)


SINGLE = f"{LIST}/single-runs"


def test_what_single_runs_told_has_a_log_and_is_sent_again(world, hook, of_request):
    webhooks.send_test(hook)
    listed = text(world.ada.get(SINGLE))
    assert "mine.test" in listed
    assert of_request.prediction.uid in listed
    assert "webhook.test" not in listed  # neither what webhooks were sent, nor a filter for it
    assert SINGLE in text(world.ada.get(LIST))
    assert "No such deliveries" in text(world.ada.get(f"{SINGLE}?status=failed"))
    assert of_request.uid in text(world.ada.get(f"{SINGLE}?status=pending&event=prediction.canceled"))
    one = text(world.ada.get(f"{SINGLE}/{of_request.uid}"))
    assert "https://mine.test/in?token=xyzzy" in one
    assert of_request.message_id in one
    assert f'action="{SINGLE}/{of_request.uid}/again"' in one
    assert f'href="{SINGLE}/{of_request.uid}"' in text(world.ada.get(f"/p/{of_request.prediction.uid}"))
    Delivery.objects.filter(pk=of_request.pk).update(status="failed", next_attempt_at=None)
    again = world.ada.post(f"{SINGLE}/{of_request.uid}/again")
    assert again["Location"] == f"{SINGLE}/{of_request.uid}"
    assert Delivery.objects.get(pk=of_request.pk).status == "pending"
    for page in (listed, one):
        assert INLINE.search(page) is None


def test_what_single_runs_told_is_their_workspaces_alone(world, hook, of_request):
    assert of_request.uid not in text(world.mal.get(SINGLE))
    for who in (world.mal, world.ada):
        other = of_request if who is world.mal else webhooks.send_test(hook)
        assert who.get(f"{SINGLE}/{other.uid}").status_code == 404
        assert who.post(f"{SINGLE}/{other.uid}/again").status_code == 404
    assert world.ada.get(f"{LIST}/{hook.uid}/log/{of_request.uid}").status_code == 404
    # A cursor of somebody else's names no place here.
    assert "mine.test" not in text(world.mal.get(f"{SINGLE}?before={of_request.uid}"))


def test_the_log_takes_a_fixed_number_of_queries(world, hook, django_assert_max_num_queries):
    for _ in range(20):
        webhooks.send_test(hook)
    with django_assert_max_num_queries(12):
        world.ada.get(f"{LIST}/{hook.uid}")
