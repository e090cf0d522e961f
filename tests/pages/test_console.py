"""The operator's page: engines, lanes, faults, and acts that are asked about first and noted in the log."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from billing.models import Audit
from marketplace.dispatch import redis_client
from marketplace.models import User
from playground import health, live, tally
from playground.console import metrics
from playground.models import Quarantine
from playground.predictions import faults
from tests.predictions import cast

GIB = 2**30


@pytest.fixture(autouse=True)
def _empty_redis(db):
    redis_client().flushdb()
    yield
    redis_client().flushdb()


@pytest.fixture
def staff(world) -> Client:
    return signed_in_operator(Client())


def signed_in_operator(client: Client) -> Client:
    user = User.objects.create_user("operator@example.test", "a long password")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    client.force_login(user)
    return client


def engine(world, worker: str = "kiln-7-beef", **said) -> None:
    """An engine of the lane is there, and has the world's model loaded."""
    version = cast.Publisher.objects.get(name="kiln").listings.get().default_version.sha256
    known = {
        "loaded": [version],
        "stopping": False,
        "since": time.time() - 7200,
        "busy_since": None,
        "sizes": {version: 3 * GIB},
        "load_times_s": {version: 2.5},
        "used_bytes": 4 * GIB,
        "budget_bytes": 8 * GIB,
        "loads": 5,
        "evictions": 2,
    }
    live.report_engine(cast.engine(worker, **{**known, **said}))


def seen(client: Client, **headers: str) -> str:
    answer = client.get("/-/engines", **headers)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"].startswith("max-age=0")
    return answer.content.decode()


def paused(world) -> Quarantine:
    row = world.run()
    return Quarantine.objects.create(
        version=row.version, reason="It ended 3 workers.", until=row.created_at + cast.later(minutes=5)
    )


def test_the_books_are_on_the_board(world, staff):
    done = timezone.now()
    Audit.objects.create(started_at=done, finished_at=done)
    page = seen(staff)
    assert ">clean</span>" in page
    assert "audited" in page
    found = [{"check": "sums agree", "detail": f"<row {at}>"} for at in range(30)]
    Audit.objects.create(started_at=done, finished_at=done, problem_count=31, problems=found)
    page = seen(staff)
    assert ">31 problems</span>" in page
    assert page.count("sums agree") == 20
    assert "&lt;row 19&gt;" in page
    early = done - timedelta(days=3)
    Audit.objects.all().delete()
    Audit.objects.create(started_at=early, finished_at=early)
    assert ">audit overdue</span>" in seen(staff)


def test_nothing_is_there_yet(world, staff):
    page = seen(staff)
    assert "The first audit of the ledger is still to come" in page
    assert "No engine is running" in page
    assert "None in the last thirty days." in page


def test_the_board_tells_what_is_loaded_and_done_and_waits(world, staff):
    engine(world)
    running, _waiting = world.run(), world.run(prompt="another", steps=5)
    (job,) = cast.claim(worker="kiln-7-beef")
    cast.step(job, 3)
    page = seen(staff)
    for said in (
        *("kiln-7-beef", "kiln/vase", "3.2 GB", "models 3.2 GB of 8.6 GB", "5 loads, 2 evictions", "busy"),
        *(running.uid, "3 of 4", "/requeue/", "/drain/kiln-7-beef", "ada 2"),
    ):
        assert said in page, said
    assert page.count("<html") == 1
    alone = seen(staff, HTTP_HX_REQUEST="true")
    assert alone.startswith('<div class="stack" id="board"')
    assert "<html" not in alone


def test_runs_of_an_engine_that_says_nothing_are_in_sight(world, staff):
    row = world.run()
    cast.claim(worker="gone-1")
    page = seen(staff)
    assert "silent" in page
    assert row.uid in page
    assert "/drain/gone-1" not in page


def test_faults_and_pauses_are_listed(world, staff):
    paused(world)
    row = world.run(prompt="another")
    Quarantine.objects.update(until=row.created_at)  # over, so that it is taken
    for _ in range(2):
        (job,) = cast.claim(worker="kiln-7-beef")
        faults.note(
            cast.again(cast.Prediction.objects.get(public_id=job["id"])),
            code="worker_lost",
            message="<b>Gone.",
        )
    paused(world)
    page = seen(staff)
    assert "It ended 3 workers." in page
    assert "worker_lost" in page
    assert "&lt;b&gt;Gone." in page


def act(client: Client, name: str, target: object):
    """Ask, then confirm; the page that follows."""
    asked = client.get(f"/-/engines/{name}/{target}")
    assert asked.status_code == 200, asked.headers.get("Location")
    assert b"<form" in asked.content
    done = client.post(f"/-/engines/{name}/{target}")
    assert done.headers["Location"] == "/-/engines"
    return client.get("/-/engines").content.decode()


def test_an_engine_is_drained_and_works_again(world, staff, caplog):
    engine(world)
    with caplog.at_level(logging.WARNING):
        assert "kiln-7-beef takes nothing new." in act(staff, "drain", "kiln-7-beef")
    assert live.shall_rest("kiln-7-beef")
    assert any("audit: operator@example.test did “drain”" in one.getMessage() for one in caplog.records)
    engine(world, draining=True)
    assert "drained" in seen(staff)
    assert "works again" in act(staff, "undrain", "kiln-7-beef")
    assert not live.shall_rest("kiln-7-beef")


def test_what_a_machine_cannot_open_is_told_with_the_reason_and_tried_again(world, staff):
    version = cast.Publisher.objects.get(name="kiln").listings.get().default_version.sha256
    assert "Cannot open" not in seen(staff)
    why = "The weights of this model are <damaged>."
    note: live.UnfitNote = {"code": "bad_weights", "why": why, "since": time.time() - 150}
    engine(world, worker="node-1-7-beef", loaded=[], unfit=[version], unfit_notes={version: note})
    page = seen(staff)
    for said in ("Cannot open", "kiln/vase", "are &lt;damaged&gt;.", "2 min ago", f"/try/{version}@node-1"):
        assert said in page, said
    figure = (
        f"('code', 'bad_weights'), ('lane', 'test'), ('model', 'kiln/vase'), ('version', '{version[:12]}')"
    )
    found = collected(staff)[f"vitrine_engine_unfit_seconds[{figure}, ('worker', 'node-1-7-beef')]"]
    assert 150 <= found < 250
    assert live.wishes_to_try("node-1", [version]) == [None]
    assert "kiln/vase on node-1 is tried again." in act(staff, "try", f"{version}@node-1")
    assert live.wishes_to_try("node-1", [version]) != [None]
    assert live.wishes_to_try("node-2", [version]) == [None]
    engine(world, worker="older-1-beef", unfit=[version])  # which gave no reason yet
    assert f"/try/{version}@older" in seen(staff)


def test_a_running_run_is_given_back_as_no_fault(world, staff):
    row = cast.again(world.run())
    (job,) = cast.claim()
    act(staff, "requeue", row.uid)
    back = cast.again(row)
    assert (back.status, back.faults, back.fair_at) == ("queued", 0, row.fair_at)
    assert cast.step(job, 2) == [job["id"]]  # the worker stops
    (again,) = cast.claim()
    assert cast.succeed(again)
    cast.money_is_right()


def test_a_run_is_ended_without_a_charge(world, staff):
    row = world.run()
    (job,) = cast.claim()
    act(staff, "end", row.uid)
    ended = cast.again(row)
    assert (ended.status, ended.error_code, ended.cost_micros) == ("failed", "ended_by_operator", 0)
    assert not cast.succeed(job)
    cast.money_is_right()


def test_a_paused_version_is_let_go(world, staff):
    one = paused(world)
    assert cast.claim() == []
    act(staff, "release", one.pk)
    assert Quarantine.objects.get().released_by == User.objects.get(email="operator@example.test")
    assert len(cast.claim()) == 1


@pytest.mark.parametrize(
    "path",
    [
        "drain/nobody",
        "requeue/p_00000000000000000000000000",
        "requeue/nonsense",
        "end/x",
        "try/nothing@nowhere",
        "release/9",
        "release/x",
    ],
)
def test_what_is_gone_is_said(world, staff, path):
    for how in (staff.get, staff.post):
        answer = how(f"/-/engines/{path}")
        assert answer.headers["Location"] == "/-/engines"
    assert "any more." in seen(staff)


def test_who_signed_out_is_led_away_from_the_board(world):
    answer = Client().get("/-/engines", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/accounts/login?next=/-/engines")


def test_there_are_no_other_acts(world, staff):
    for how in (staff.get, staff.post):
        assert how("/-/engines/explode/kiln-7-beef").status_code == 404


def test_acts_want_a_token(world):
    strict = signed_in_operator(Client(enforce_csrf_checks=True))
    row = world.run()
    cast.claim()
    assert strict.post(f"/-/engines/end/{row.uid}").status_code == 403
    assert cast.again(row).status == "running"


# Figures


def collected(client: Client, **headers: str) -> dict[str, float]:
    answer = client.get("/-/metrics", **headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = [
        one for family in text_string_to_metric_families(answer.content.decode()) for one in family.samples
    ]
    written = {f"{one.name}{sorted(one.labels.items())}": one.value for one in samples}
    assert len(written) == len(samples)  # none twice
    return written


@pytest.mark.django_db(transaction=True)
def test_what_happened_is_counted_for_all_processes(transactional_db, settings):
    from tests.pages import world as places

    settings.METRICS_TOKEN = "a token"
    world = places.build()
    redis_client().flushdb()
    bearer = {"HTTP_AUTHORIZATION": "Bearer a token"}
    before = collected(Client(), **bearer)
    assert before["vitrine_queue_length[('lane', 'test')]"] == 0
    world.made()
    world.failed(prompt="another")
    row = world.run(prompt="a third")
    (job,) = cast.claim()
    cast.fail(job, retryable=True)
    engine(world)
    health.note_sweep()
    found = collected(Client(), **bearer)
    lane = "('lane', 'test')"
    assert found[f"vitrine_predictions_total[{lane}, ('status', 'succeeded')]"] == 1
    assert found[f"vitrine_predictions_total[{lane}, ('status', 'failed')]"] == 1
    assert found[f"vitrine_failures_total[('code', 'broken'), {lane}]"] == 1
    assert found[f"vitrine_faults_total[('code', 'broken'), {lane}]"] == 2
    assert found[f"vitrine_batch_size_bucket[{lane}, ('le', '1')]"] == 3
    assert found[f"vitrine_batch_size_count[{lane}]"] == 3
    assert found[f"vitrine_phase_seconds_count[{lane}, ('phase', 'store')]"] == 1
    assert found[f"vitrine_phase_seconds_bucket[{lane}, ('le', '+Inf'), ('phase', 'wait')]"] == 1
    assert found[f"vitrine_queue_length[{lane}]"] == 1
    assert found[f"vitrine_queue_oldest_seconds[{lane}]"] > 0
    here = f"[{lane}, ('worker', 'kiln-7-beef')]"
    assert found[f"vitrine_engine_resident_bytes{here}"] == 3 * GIB
    assert found[f"vitrine_engine_loads_total{here}"] == 5
    assert 0 <= found["vitrine_sweep_age_seconds[]"] < 60
    assert row.status == "queued"


def test_who_may_read_the_figures(world, staff, settings):
    here = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    assert staff.get("/-/metrics").status_code == 200
    assert world.nobody.get("/-/metrics", **here).status_code == 200
    assert world.nobody.get("/-/metrics", **here, HTTP_X_FORWARDED_FOR="192.0.2.1").status_code == 404
    assert world.mal.get("/-/metrics").status_code == 404
    assert world.nobody.get("/-/metrics", HTTP_AUTHORIZATION="Bearer ").status_code == 404
    settings.METRICS_TOKEN = "right"
    for given, status in (("right", 200), ("wrong", 404), ("", 404), ("rïght", 404)):
        answer = world.nobody.get("/-/metrics", HTTP_AUTHORIZATION=f"Bearer {given}")
        assert answer.status_code == status, given


def test_names_with_signs_of_their_own_stay_whole(db):
    tally.add(tally.Count("predictions", {"lane": 'a|b="c\\\n', "status": "failed"}))
    registry, _ = metrics.exposition()
    (family,) = [
        one for one in text_string_to_metric_families(registry.decode()) if one.name == "vitrine_predictions"
    ]
    assert [one.labels["lane"] for one in family.samples] == ['a_b_"c\\\n']


def test_measures_fall_into_their_bounds(db):
    for value in (0.005, 0.006, 2000.0):
        tally.add(tally.Measure("phase", {"lane": "x", "phase": "load"}, value))
    (counts,) = tally.buckets(tally.read()["phase"], tally.SECONDS).values()
    assert dict(counts)["0.005"] == 1
    assert dict(counts)["0.01"] == 2
    assert counts[-2:] == [("1800", 2), ("+Inf", 3)]
