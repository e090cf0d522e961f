"""The life of a prediction, by the worker's own six verbs."""

from __future__ import annotations

from importlib import import_module
from uuid import UUID

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from billing import ledger, pricing
from marketplace import catalog, schema
from marketplace.models import Outbox
from playground import live, predictions, webhooks
from playground.models import Asset, IdempotencyKey, Prediction
from playground.predictions import work
from tests.predictions import cast
from tests.predictions.cast import CREDIT, later, move_back


def available(workspace) -> int:
    return ledger.balance(workspace.pk).available_micros


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


# What a worker says too late


@pytest.fixture
def stale(payer):
    """A job whose attempt was given away: the lease was over, another worker took it."""
    row = cast.submit(payer)
    (old,) = cast.claim(worker="frozen")
    move_back(row, lease_until=60)
    predictions.sweep()
    (new,) = cast.claim(worker="awake")
    assert (old["fence"], new["fence"]) == (1, 2)
    return row, old, new


def test_a_stale_fence_changes_nothing(payer, stale):
    row, old, new = stale
    before = Prediction.objects.filter(pk=row.pk).values().get()
    files = sum(1 for _ in assets_on_disk())
    assert cast.step(old, 3) == [old["id"]]
    assert work.renew(fences={old["id"]: old["fence"]}) == [old["id"]]
    assert not cast.succeed(old)
    assert not cast.succeed(old, data=b"junk")
    assert not cast.fail(old)
    assert not cast.fail(old, retryable=True)
    assert not cast.release(old)
    assert Prediction.objects.filter(pk=row.pk).values().get() == before
    assert sum(1 for _ in assets_on_disk()) == files
    assert cast.succeed(new)
    assert cast.again(row).attempt == 2


def test_nothing_changes_after_the_end(payer):
    ends = {
        "succeeded": cast.succeed,
        "failed": cast.fail,
        "canceled": lambda job: predictions.cancel(Prediction.objects.get(public_id=job["id"])),
    }
    for status, end in ends.items():
        row = cast.submit(payer)
        (job,) = cast.claim()
        assert end(job)
        before = Prediction.objects.filter(pk=row.pk).values().get()
        assert before["status"] == status
        assert cast.step(job, 2) == [job["id"]]
        assert not cast.succeed(job)
        assert not cast.fail(job)
        assert not cast.fail(job, retryable=True)
        assert not cast.release(job)
        assert predictions.cancel(row).status == status
        predictions.sweep()
        assert Prediction.objects.filter(pk=row.pk).values().get() == before


def assets_on_disk():
    from pathlib import Path

    from django.conf import settings

    return (file for file in Path(settings.MEDIA_ROOT).rglob("*") if file.is_file())


def test_a_worker_hears_of_each_job_apart(payer):
    for _ in range(3):
        cast.submit(payer)
    jobs = cast.claim(limit=3)
    predictions.cancel(Prediction.objects.get(public_id=jobs[1]["id"]))
    assert work.renew(fences={job["id"]: job["fence"] for job in jobs}) == [jobs[1]["id"]]
    unknown = UUID(int=5).hex
    assert work.renew(fences={unknown: 1}) == [unknown]
    assert work.renew(fences={}) == []
    assert work.step(reports=[]) == []


# Time


def test_the_start_deadline(payer):
    row = cast.submit(payer, start_within=5)
    other = cast.submit(payer)
    move_back(row, start_by=6, created_at=6)
    assert [job["id"] for job in cast.claim(limit=4)] == [other.public_id.hex]
    predictions.sweep()
    now = cast.again(row)
    assert (now.status, now.error_code, now.cost_micros) == ("failed", "start_deadline", 0)
    assert "5 s" in now.error_message


def test_a_run_that_started_in_time_may_start_again(payer):
    """The deadline is for the start; a run that lost its worker after it has the same patience again."""
    row = cast.submit(payer, start_within=5)
    (job,) = cast.claim()
    move_back(row, start_by=30, created_at=30, lease_until=60)
    predictions.sweep()
    assert cast.again(row).status == "queued"
    predictions.sweep()
    (job,) = cast.claim()
    assert job["fence"] == 2
    move_back(row, start_by=30)
    assert cast.release(job)
    (job,) = cast.claim()
    assert cast.succeed(job)


def test_a_run_that_waits_again_is_not_stuck_either(payer):
    row = cast.submit(payer, start_within=5)
    (job,) = cast.claim()
    cast.release(job)
    move_back(row, start_by=700)
    predictions.sweep()
    assert cast.again(row).error_code == "start_deadline"


def test_a_run_longer_than_its_endpoint_allows(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    move_back(row, started_at=61)
    predictions.sweep()
    now = cast.again(row)
    assert (now.status, now.error_code, now.cost_micros) == ("failed", "timeout", 0)
    assert not cast.succeed(job)


def test_a_frozen_worker_loses_its_lease_and_bounded_attempts_end_the_run(payer):
    row = cast.submit(payer)
    for fault in range(1, work.MAX_FAULTS):
        cast.claim()
        move_back(row, lease_until=60)
        predictions.sweep()
        now = cast.again(row)
        assert (now.status, now.faults) == ("queued", fault)
        cast.wait_out(row)
    cast.claim()
    move_back(row, lease_until=60)
    predictions.sweep()
    now = cast.again(row)
    assert (now.status, now.error_code, now.cost_micros) == ("failed", "worker_lost", 0)
    assert available(payer) == CREDIT


def test_steps_and_renewals_extend_the_lease(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    for extend in (lambda: cast.step(job, 1), lambda: work.renew(fences={job["id"]: 1})):
        move_back(row, lease_until=14)
        assert extend() == []
        assert cast.again(row).lease_until > timezone.now() + work.LEASE / 2


def test_a_lock_that_nobody_holds_brings_the_run_back(payer, monkeypatch):
    monkeypatch.setattr(import_module("playground.predictions.sweep"), "RECONNECT_SECONDS", 0)
    row = cast.submit(payer)
    cast.claim(worker_lock=2_000_000_000)
    assert predictions.sweep()["lost"] == 1
    assert cast.again(row).status == "queued"


def test_after_the_database_was_away_workers_have_time_to_take_their_locks_again(payer, monkeypatch):
    sweep = import_module("playground.predictions.sweep")
    another_start = timezone.now() - cast.later(days=400), 0.0  # since when this process saw it answer
    monkeypatch.setattr(sweep, "_database", another_start)
    cast.submit(payer)
    cast.claim(worker_lock=2_000_000_000)
    assert predictions.sweep()["lost"] == 0
    monkeypatch.setattr(sweep, "RECONNECT_SECONDS", 0)
    assert predictions.sweep()["lost"] == 1


# Canceling


def test_canceling_a_waiting_run_is_free(payer):
    row = cast.submit(payer)
    assert predictions.cancel(row).status == "canceled"
    assert cast.again(row).cost_micros == 0
    assert cast.claim() == []
    assert available(payer) == CREDIT


def test_canceling_a_running_one_is_free_some_times_a_day(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 2
    costs = []
    for _ in range(4):
        row = cast.submit(payer)
        (job,) = cast.claim()
        cast.step(job, 3)
        predictions.cancel(row)
        costs.append(cast.again(row).cost_micros)
        assert cast.step(job, 4) == [job["id"]]
    assert costs == [0, 0, 3_000, 3_000]
    assert available(payer) == CREDIT - 6_000
    other = cast.payer()
    row = cast.submit(other)
    (job,) = cast.claim()
    cast.step(job, 3)
    assert predictions.cancel(row).cost_micros == 0


def test_the_allowance_begins_anew_each_day(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 1
    for expected in (0, 1_000):
        row = cast.submit(payer)
        (job,) = cast.claim()
        cast.step(job, 1)
        assert predictions.cancel(row).cost_micros == expected
    Prediction.objects.update(finished_at=timezone.now() - later(days=1))
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, 1)
    assert predictions.cancel(row).cost_micros == 0


def test_a_running_one_that_made_no_step_is_free(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer)
    cast.claim()
    assert predictions.cancel(row).cost_micros == 0


def test_a_charged_cancel_never_costs_more_than_the_run(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, 9, steps=4)
    assert predictions.cancel(row).cost_micros == cast.PRICE_MICROS


def test_steps_of_a_lost_attempt_are_not_charged(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, 3)
    cast.release(job)
    assert predictions.cancel(row).cost_micros == 0


# Refusals


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"model": "kiln/none"}, catalog.NotFound),
        ({"steps": 99}, schema.InvalidInput),
        ({"max_cost_micros": 3_999}, predictions.CostAboveCap),
        ({"model": "kiln/priceless"}, pricing.CannotPrice),
        ({"model": "kiln/dear"}, ledger.InsufficientCredit),
        ({"model": "kiln/shut"}, predictions.CannotRun),
    ],
)
def test_a_refused_run_was_never_there(payer, asked, error):
    cast.shelve(name="priceless", prices=[{"unit": "second", "unit_price": "1"}])
    cast.shelve(name="dear", prices=[{"unit": "image", "unit_price": "2"}])
    cast.shelve(name="shut")
    from marketplace.models import Offer

    Offer.objects.filter(endpoint__version__listing__name="shut").update(is_enabled=False)
    catalog.forget()
    with pytest.raises(error):
        cast.submit(payer, idempotency_key="k", **asked)
    assert not Prediction.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert available(payer) == CREDIT


def test_a_cap_that_is_met_exactly(payer):
    assert cast.submit(payer, max_cost_micros=cast.PRICE_MICROS).status == "queued"


def test_a_free_model_runs_without_credit(db):
    cast.shelve(prices=[{"unit": "image", "unit_price": "0"}])
    poor = cast.payer(credit=0)
    row = cast.submit(poor)
    (job,) = cast.claim()
    assert cast.succeed(job)
    assert cast.again(row).cost_micros == 0
    cast.money_is_right()


def test_the_price_of_the_quote_is_the_price_of_the_run(payer):
    row = cast.submit(payer)
    cast.shelve(prices=[{"unit": "image", "unit_price": "0.5"}])
    (job,) = cast.claim()
    cast.succeed(job)
    assert cast.again(row).cost_micros == cast.PRICE_MICROS
