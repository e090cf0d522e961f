"""Credit by the operator's hand, as typed: what it does, says, and refuses without a traceback."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing import ledger, topups
from billing.models import Grant
from tests.billing.buyers import USD, available, bought, clean_books
from tests.billing.cast import new_workspace

Coupon = apps.get_model("billing", "Coupon")


def credit(*words: str) -> None:
    call_command("credit", *words)


@pytest.mark.django_db
def test_credit_is_granted_with_a_reason_and_perhaps_an_end(capsys):
    workspace = new_workspace()
    credit("grant", workspace.slug, "$20.5", "--reason", "conference", "--days", "90")
    credit("grant", workspace.slug, "1", "--reason", "thanks")
    assert f"{workspace.slug} has $1 more." in capsys.readouterr().out
    balance = ledger.balance(workspace.pk)
    assert (balance.granted_micros, balance.available_micros) == (21_500_000, 21_500_000)
    first, second = Grant.objects.order_by("pk")
    assert (first.transaction.note, second.transaction.note) == ("conference", "thanks")
    assert first.expires_at - first.created_at == timedelta(days=90)
    assert second.expires_at is None
    clean_books()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grant", "nobody", "5", "--reason", "x"], "no workspace nobody"),
        (["grant", "{slug}", "0", "--reason", "x"], "above nothing"),
        (["grant", "{slug}", "-5", "--reason", "x"], "above nothing"),
        (["grant", "{slug}", "10001", "--reason", "x"], "up to"),
        (["grant", "{slug}", "0.0000001", "--reason", "x"], "is no "),
        (["grant", "{slug}", "1e999999", "--reason", "x"], "is no "),
        (["grant", "{slug}", "NaN", "--reason", "x"], "is no "),
        (["grant", "{slug}", "lots", "--reason", "x"], "is no "),
        (["grant", "{slug}", "5", "--reason", " "], "with a reason"),
        (["grant", "{slug}", "5", "--reason", "x", "--days", "0"], "lasts"),
        (["coupon", "5", "--reason", "x", "--until", "31.1.2027"], "no day"),
        (["coupon", "5", "--reason", "x", "--code", "short"], "7 to 40"),
        (["close", "NO-SUCH-CODE"], "no open code"),
        (["refund", "tu_nothing", "5"], "no top-up"),
        (["reconcile", "--since", "yesterday"], "no day"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(words, said):
    workspace = new_workspace()
    with pytest.raises(CommandError, match=said):
        credit(*(word.format(slug=workspace.slug) for word in words))
    assert ledger.balance(workspace.pk) == ledger.Balance(0, 0, 0, 0)
    assert not Coupon.objects.exists()


@pytest.mark.django_db
def test_a_coupon_is_made_used_and_closed(capsys):
    until = f"{timezone.now() + timedelta(days=3):%Y-%m-%d}"
    credit("coupon", "5", "--reason", "launch", "--most", "2", "--until", until, "--days", "30")
    code = capsys.readouterr().out.strip()
    row = Coupon.objects.get()
    assert (row.code, row.most, row.credit_days, row.source) == (code, 2, 30, "launch")
    assert f"{row.until:%Y-%m-%d %H:%M:%S}" == f"{until} 23:59:59"  # the whole of that day
    workspace = new_workspace()
    assert topups.coupons.use(workspace, code, by=None) == 5 * USD
    credit("close", code.lower())
    assert "Closed." in capsys.readouterr().out
    with pytest.raises(topups.Refused):
        topups.coupons.use(new_workspace(), code, by=None)
    with pytest.raises(CommandError, match="no open code"):
        credit("close", code)
    assert available(workspace) == 5 * USD
    clean_books()


def test_unspent_credit_is_sent_back_and_the_books_are_compared(stripe_sandbox, ada, capsys):
    row = bought(stripe_sandbox, ada)
    credit("refund", row.uid, "10")
    assert ": done." in capsys.readouterr().out
    assert available(ada) == 15 * USD
    with pytest.raises(CommandError, match="At most"):
        credit("refund", row.uid, "15.01")
    credit("reconcile", "--since", f"{timezone.now():%Y-%m-%d}")
    assert "The books agree with Stripe." in capsys.readouterr().out
    stripe_sandbox.fault("error", "get", "/v1/events", times=3)
    with pytest.raises(CommandError, match="does not answer"):
        credit("reconcile")
    clean_books()
