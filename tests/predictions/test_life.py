"""The life of a prediction, by the worker's own six verbs."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from marketplace.models import Outbox
from playground import live, predictions, webhooks
from playground.models import Asset
from playground.predictions import work
from tests.predictions import cast
from tests.predictions.cast import CREDIT, available, later, move_back


@pytest.mark.django_db(transaction=True)
def test_viewers_are_shown_each_change_and_the_end_last(transactional_db):
    cast.shelve()
    row = cast.submit(cast.payer())
    seen = [live.read(row.public_id)]
    (job,) = cast.claim()
    seen.append(live.read(row.public_id))
    cast.step(job, 1)
    seen.append(live.read(row.public_id))
    cast.fail(job, retryable=True)
    seen.append(live.read(row.public_id))
    (new,) = cast.claim()
    cast.step(job, 3)
    seen.append(live.read(row.public_id))
    cast.succeed(new)
    seen.append(live.read(row.public_id))
    cast.step(new, 4)
    predictions.cancel(row)
    last = live.read(row.public_id)
    assert [(one["status"], one["attempt"], one["step"]) for one in seen] == [
        ("queued", 0, 0),
        ("running", 1, 0),
        ("running", 1, 1),
        ("queued", 1, 0),
        ("running", 2, 0),
        ("succeeded", 2, 0),
    ]
    assert "Trying again" in seen[3]["note"]
    assert seen[-1]["cost_micros"] == cast.PRICE_MICROS
    assert seen[-1]["output"]["images"][0]["url"]
    assert [one["seq"] for one in seen] == [1, 2, 3, 4, 5, 6]
    assert last == seen[-1]


def test_a_message_with_what_no_text_may_hold_is_still_told(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    named = {"id": job["id"], "fence": job["fence"], "code": "invalid_input"}
    assert work.fail(**named, message="No layer “a\0b”.", retryable=False, logs=["\0"])
    failed = cast.again(row)
    assert (failed.error_code, failed.error_message) == ("invalid_input", "No layer “a\ufffdb”.")
    assert failed.logs == "\ufffd"


def test_what_took_the_time_is_told(payer):
    made, failed = cast.submit(payer), cast.submit(payer, steps=5)
    for row in (made, failed):
        move_back(row, created_at=30)
    (job,) = cast.claim()
    cast.succeed(job)
    cast.fail(cast.claim()[0])
    for row in (made, failed):
        assert 30 <= cast.again(row).metrics["wait_s"] < 300
    told = predictions.as_json(cast.again(made))["metrics"]
    assert told["run_ms"] == 5  # what the worker measured
    assert 0 < told["store_s"] < 60
    assert "store_s" not in cast.again(failed).metrics


def test_fewer_pictures_than_paid_for_cost_less(payer):
    row = cast.submit(payer, num_images=4)
    (job,) = cast.claim()
    cast.succeed(job, pictures=3)
    assert cast.again(row).cost_micros == 3 * cast.PRICE_MICROS
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.succeed(job, pictures=3)
    assert cast.again(row).cost_micros == cast.PRICE_MICROS


def test_from_quote_to_charge(payer):
    caller = predictions.Caller(workspace=payer)
    data = {"prompt": "a vase", "num_images": 2}
    quote = predictions.quote(caller, model="kiln/vase", data=data)
    assert quote["amount_micros"] == 2 * cast.PRICE_MICROS
    row = cast.submit(payer, num_images=2)
    assert (row.status, row.held_micros) == ("queued", quote["amount_micros"])
    assert available(payer) == CREDIT - quote["amount_micros"]
    (job,) = cast.claim()
    assert job["id"] == row.public_id.hex
    assert job["fence"] == 1
    assert job["input"]["prompt"] == "a vase"
    assert job["input"]["seed"] >= 0
    assert cast.step(job, 1) == []
    assert work.renew(fences={job["id"]: 1}) == []
    now = cast.again(row)
    assert (now.status, now.step, now.steps) == ("running", 1, 4)
    assert cast.succeed(job, pictures=2)
    now = cast.again(row)
    assert (now.status, now.cost_micros) == ("succeeded", quote["amount_micros"])
    assert available(payer) == CREDIT - quote["amount_micros"]
    shown = predictions.as_json(now)
    assert shown["held_micros"] == 0
    assert [image["width"] for image in shown["output"]["images"]] == [8, 8]
    assert shown["output"]["seed"] == 7
    assert shown["logs"] == "done"
    for medium in Asset.objects.filter(prediction=row):
        with default_storage.open(medium.storage_name) as file:
            assert file.read().startswith(b"\x89PNG")
        assert medium.expires_at > timezone.now() + later(days=29)


def test_closing_a_run_is_a_few_statements(payer, django_assert_num_queries):
    """The row, its media, the closed row with who is told, hold and usage, the movement; and the outbox for those.
    What failed by the machine's fault has that written down too."""
    cast.submit(payer)
    cast.succeed(cast.claim()[0])  # which opens the accounts of the publisher
    cast.submit(payer)
    (job,) = cast.claim()
    with django_assert_num_queries(2 + 5):  # two are the savepoint that a test's own transaction makes of it
        assert cast.succeed(job)
    webhooks.make(payer, url="https://example.test/")
    cast.submit(payer)
    (job,) = cast.claim()
    with django_assert_num_queries(2 + 6):
        assert cast.succeed(job)
    cast.submit(payer)
    (job,) = cast.claim()
    with django_assert_num_queries(2 + 6):
        assert cast.fail(job)


def test_a_webhook_hears_of_what_ends_after_it_was_made_and_while_it_is_enabled(payer):
    def told(prepare):
        row = cast.submit(payer)
        (job,) = cast.claim()
        prepare()
        assert cast.succeed(job)
        return Outbox.objects.filter(payload__prediction=row.public_id.hex).exists()

    made = []
    assert not told(lambda: None)
    assert told(lambda: made.append(webhooks.make(payer, url="https://example.test/")))
    assert not told(lambda: webhooks.change(made[0], is_enabled=False))
    assert told(lambda: webhooks.change(made[0], is_enabled=True))
    assert not told(
        lambda: (webhooks.remove(made[0]), webhooks.make(cast.payer(), url="https://other.test/"))
    )


def test_a_failed_run_costs_nothing(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    assert cast.fail(job)
    now = cast.again(row)
    assert (now.status, now.cost_micros, now.error_code) == ("failed", 0, "broken")
    assert available(payer) == CREDIT


def test_a_retryable_failure_goes_back_until_it_is_enough(payer):
    row = cast.submit(payer)
    place = cast.again(row).fair_at
    for fault in range(1, work.MAX_FAULTS):
        (job,) = cast.claim()
        assert job["fence"] == fault
        assert cast.fail(job, retryable=True)
        now = cast.again(row)
        assert (now.status, now.faults, now.fair_at) == ("queued", fault, place)
        cast.wait_out(row)
    (job,) = cast.claim()
    assert cast.fail(job, retryable=True)
    assert cast.again(row).status == "failed"
    assert cast.claim() == []
    assert available(payer) == CREDIT


def test_a_released_job_keeps_its_place_and_counts_no_fault(payer):
    first, second = cast.submit(payer, steps=4), cast.submit(payer, steps=5)
    (job,) = cast.claim()
    assert job["id"] == first.public_id.hex
    assert cast.release(job)
    assert cast.again(first).faults == 0
    (job,) = cast.claim()
    assert (job["id"], job["fence"]) == (first.public_id.hex, 2)
    assert cast.again(second).status == "queued"


def test_unusable_output_is_never_charged(payer):
    for data in (b"", b"no picture", cast.png()[:-20], b"GIF89a" + b"\0" * 40):
        row = cast.submit(payer)
        (job,) = cast.claim()
        work.succeed(
            id=job["id"],
            fence=job["fence"],
            media=[{"data": cast.png(), "meta": {}}, {"data": data, "meta": {}}],
            seed=1,
            metrics={},
            logs=[],
        )
        now = cast.again(row)
        assert (now.status, now.cost_micros, now.error_code) == ("failed", 0, "unusable_output")
        assert now.error_message
    assert available(payer) == CREDIT
    assert not Asset.objects.exists()


def test_success_without_a_picture_is_no_success(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.succeed(job, pictures=0)
    now = cast.again(row)
    assert (now.status, now.cost_micros) == ("failed", 0)


def test_secrets_are_gone_when_the_run_is_over(payer):
    rows = [cast.submit(payer, token="hush", prompt=str(n)) for n in range(3)]
    assert all(predictions.as_json(cast.again(row))["input"]["token"] == "[secret]" for row in rows)
    (job,) = cast.claim()
    assert job["input"]["token"] == "hush"
    cast.succeed(job)
    (job,) = cast.claim()
    cast.fail(job)
    predictions.cancel(rows[2])
    assert {cast.again(row).input["token"] for row in rows} == {"[secret]"}
