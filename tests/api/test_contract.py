"""The API held to the document it publishes: made-up requests, good and bad, against the running web process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import schemathesis
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS, load_all_checks

from tests.conftest import free_port
from tests.edge.web import accepts
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
PROJECT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = 6  # of each operation and kind of test
SECRET_MARKS = (
    re.compile(r"vt_[0-9a-z]{12}_[0-9a-z]{32}"),
    re.compile(r"Traceback|File \"/|psycopg|SELECT .* FROM"),
)
# An answer to a request that is schema-valid but names nothing is an honest 404, so success is not asked for.
OMITTED = {"positive_data_acceptance", "missing_required_header"}


@pytest.fixture
def web(world, tmp_path):
    """A web process of its own on the test's database, and what it logs."""
    from marketplace.host.places import Places

    port = free_port()
    database = Places.configured().postgres_url(database=connection.settings_dict["NAME"])
    url = f"http://127.0.0.1:{port}"
    env = {**os.environ, "DATABASE_URL": database, "PORT": str(port), "PUBLIC_URL": url}
    log = tmp_path / "web.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "playground.edge.server", "-b", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, env=env, cwd=PROJECT, stdout=out, stderr=out)
    try:
        until(lambda: accepts(port))
        yield url, log
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def world(transactional_db):
    """Ada with one of everything, so that addresses can name something."""
    from billing import limits, topups
    from marketplace import keys
    from marketplace.dispatch import redis_client
    from playground import predictions, webhooks
    from playground.assets import uploads
    from tests.predictions import cast

    redis_client().flushdb()
    ada = cast.payer(name="ada", credit=10_000_000)
    own, key = keys.make(ada, name="Ada's")
    other, _ = keys.make(ada, name="made", maker=own, scopes=["models:read"])
    upload = uploads.announce(ada, by=None, size=1, in_parts=True)
    model = cast.shelve()
    run = predictions.cancel(
        cast.submit(ada, token="hush-hush-hush")
    )  # closed, so that nobody waits for its end
    charged = predictions.cancel(cast.submit(ada))
    hook = webhooks.make(ada, url="https://example.test/hook?token=1")
    delivery = webhooks.send_test(hook)
    asset = cast_asset(ada)
    topup = topups.attempt(ada, 25_000_000, by=None)
    limit = limits.put(ada, kind="workspace", period="month", limit_micros=10**9)
    house, payout = cast_payout(ada)
    yield {
        "key": key,
        "publisher": "kiln",
        "name": model.partition("/")[2],
        "prediction_id": run.uid,
        "receipt_of": charged.uid,  # the other one will be deleted by then
        "house": {
            "publisher": house.name,
            "month": f"{payout.created_at:%Y-%m}",
        },  # what the caller publishes as
        "payout_id": payout.uid,
        "webhook_id": hook.uid,
        "delivery_id": delivery.uid,
        "limit_id": limit.uid,
        "topup_id": topup.uid,
        "key_id": other.uid,  # not that of the caller, which would end itself
        "asset_id": asset.uid,
        "upload_id": upload.uid,
        "number": 1,
    }
    redis_client().flushdb()


def cast_asset(workspace):
    """A row of a file: nobody here reads it."""
    from django.utils import timezone

    from playground.models import Asset

    return Asset.objects.create(
        workspace=workspace,
        kind=Asset.Kind.UPLOAD,
        filename="vase.png",
        sha256="0" * 64,
        media_type="image/png",
        size=1,
        storage_name="assets/none.png",
        expires_at=timezone.now() + timedelta(days=1),
    )


def cast_payout(workspace):
    """A publisher of the workspace that has earned, and a payout to it by hand."""
    from uuid import uuid4

    from django.utils import timezone

    from billing import ledger
    from billing.models.payouts import Payout
    from marketplace import catalog, publishers
    from tests.predictions import cast

    house = publishers.found(workspace, name="northlight", agreed=True, by=None)
    catalog.publish(house, cast.manifest(name="dusk"))  # so that its name stays
    payer, reference = cast.payer(), uuid4()
    ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=100_000)
    usage = ledger.Usage(
        model="northlight/dusk", status="succeeded", quote={"lines": []}, units={}, user_id=None
    )
    share = ledger.Share(house.pk, house.share_percent / 100)
    ledger.capture(reference=reference, amount_micros=100_000, share=share, usage=usage)
    ledger.mature(house.pk, delay=timedelta(0), now=timezone.now() + timedelta(seconds=1))
    row = Payout.objects.create(
        publisher=house,
        book="test",
        method="manual",
        kind="requested",
        amount_micros=10_000,
        destination="hush-hush-bank",
    )
    ledger.payout_started(row.public_id, house.pk, row.amount_micros)
    return house, row


def without_new_key(answer) -> str:
    """The text of an answer, without the key that it is about: shown once, where it is made."""
    is_new = answer.status_code in {200, 201} and re.search(r"/keys(/[^/]+/rotate)?$", answer.request.url)
    shown = answer.json().get("key") if is_new and answer.request.method == "POST" else None
    text = answer.content.decode(errors="replace")  # an invoice as a paper is no text
    return text.replace(shown, "") if shown else text


def assert_silent(text: str, key: str) -> None:
    """Nothing in it that belongs to nobody else: no key, no secret input, no inside of ours."""
    assert key not in text
    assert key.rpartition("_")[2] not in text
    assert "hush-hush" not in text
    for mark in SECRET_MARKS:
        assert mark.search(text) is None, mark.search(text)


def asking(operation, mode, ask):
    """A test of one operation with requests that are good, or bad, by its own description."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,  # the same requests each time: what it finds, it finds again
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def test(case, is_known):
        ask(case, is_known=is_known or mode is schemathesis.GenerationMode.POSITIVE)

    return test


def test_every_operation_answers_as_it_says(world, web):
    url, log = web
    api = schemathesis.openapi.from_dict(
        httpx.get(f"{url}/api/v1/openapi.json", trust_env=False, timeout=60).json()
    )
    api.config.update(base_url=url)
    load_all_checks()
    checks = [
        check
        for name in CHECKS.get_all_names()
        if name not in OMITTED
        for check in CHECKS.get_by_names([name])
    ]
    asked = set()

    def ask(case, *, is_known):
        if is_known:
            there = {**world, "prediction_id": world["receipt_of"]} if "/receipts" in case.path else world
            there = {**there, **world["house"]} if "/publishers" in case.path else there
            known = {name: there[name] for name in case.path_parameters or {} if name in there}
            case.path_parameters = {**(case.path_parameters or {}), **known}
        answer = case.call(headers={"Authorization": f"Bearer {world['key']}"}, timeout=60)
        asked.add((case.operation.method, case.operation.path, answer.status_code))
        assert_silent(without_new_key(answer), world["key"])
        case.validate_response(answer, checks=checks)

    for result in api.get_all_operations():
        operation = result.ok()
        if operation.path.startswith("/media/") or operation.path.endswith("/events"):
            continue  # files and streams: tests/edge
        asking(operation, schemathesis.GenerationMode.POSITIVE, ask)()
        with contextlib.suppress(Unsatisfiable):  # what takes no values cannot be given wrong ones
            asking(operation, schemathesis.GenerationMode.NEGATIVE, ask)()
    assert_silent(log.read_text(), world["key"])
    # Reading needs no luck; whether a body that is made up makes something does, and is tested elsewhere.
    good = {(method, path) for method, path, status in asked if status < 300}
    assert {
        ("get", "/api/v1/predictions"),
        ("get", "/api/v1/workspace"),
        ("get", "/api/v1/usage"),
        ("get", "/api/v1/usage.csv"),
        ("get", "/api/v1/receipts"),
        ("get", "/api/v1/receipts/{prediction_id}"),
        ("get", "/api/v1/billing/topups/{topup_id}"),
        ("get", "/api/v1/publishers/{publisher}/earnings"),
        ("get", "/api/v1/publishers/{publisher}/statements/{month}"),
        ("get", "/api/v1/publishers/{publisher}/payouts/{payout_id}"),
        ("get", "/api/v1/assets"),
        ("get", "/api/v1/assets/uploads/{upload_id}"),
    } <= good
