"""Whose turn it is under load: many models, engines and workspaces, and one queue that nobody starves in."""

from __future__ import annotations

import copy
import uuid
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from playground.models import Prediction
from playground.predictions import work
from playground.predictions.claims import Warmth
from tests.at_once import at_once
from tests.predictions import cast
from tests.predictions.cast import later, move_back


def shelve(count: int, **changes) -> list[str]:
    """So many models; their ids."""
    return [cast.shelve(name=f"model-{n}", recipe__number=n, **changes) for n in range(count)]


def version(row: Prediction) -> str:
    return cast.again(row).version.sha256


def crowd(first: Prediction, count: int) -> list[Prediction]:
    """More rows like `first`, without the money that the queue does not look at."""
    rows = []
    for _ in range(count):
        row = copy.copy(first)
        row.pk, row.public_id = None, uuid.uuid4()
        row._state = copy.copy(first._state)
        row._state.adding = True
        rows.append(row)
    return rows


def test_what_another_engine_has_loaded_is_left_to_it_for_a_while(payer):
    row = cast.submit(payer)
    elsewhere = {version(row): 5.0}
    assert cast.claim(warmth=Warmth(elsewhere=elsewhere)) == []
    other = cast.submit(payer, model=shelve(1)[0])
    assert cast.claim(warmth=Warmth(elsewhere=elsewhere))[0]["id"] == other.public_id.hex
    move_back(row, created_at=6)
    assert cast.claim(warmth=Warmth(elsewhere=elsewhere))[0]["id"] == row.public_id.hex
    row = cast.submit(payer)
    assert cast.claim(warmth=Warmth(loaded=list(elsewhere), elsewhere=elsewhere)) != []


def test_who_would_not_start_in_time_is_left_to_no_other_engine(payer):
    hasty = cast.submit(payer, start_within=5)
    assert cast.claim(warmth=Warmth(elsewhere={version(hasty): 10.0}))[0]["id"] == hasty.public_id.hex


def test_a_steady_engine_takes_what_it_has_or_what_has_waited_longer_than_the_head_start(payer):
    cold = cast.submit(payer, model=shelve(1)[0])
    steady = Warmth(loaded=["another"], head_start=timedelta(seconds=8), steady=True)
    assert cast.claim(warmth=steady) == []
    warm = cast.submit(payer)
    steady = Warmth(loaded=[version(warm)], head_start=timedelta(seconds=8), steady=True)
    assert cast.claim(warmth=steady)[0]["id"] == warm.public_id.hex
    assert cast.claim(warmth=steady) == []
    move_back(cold, fair_at=9)
    assert cast.claim(warmth=steady)[0]["id"] == cold.public_id.hex


def test_who_would_not_start_in_time_is_not_made_to_wait_for_what_is_warm(payer):
    hasty = cast.submit(payer, model=shelve(1)[0], start_within=5)
    warm = Warmth(loaded=[version(cast.submit(payer))])
    assert cast.claim(warmth=warm)[0]["id"] == hasty.public_id.hex


def test_in_its_turn_the_oldest_goes_first_whatever_the_priorities(payer):
    humble = cast.submit(payer, steps=7)
    first = cast.submit(payer, steps=8, priority=5)
    move_back(humble, fair_at=1)
    urgent = crowd(first, 80)  # more than the window that a claim looks at
    Prediction.objects.bulk_create(urgent)
    assert cast.claim()[0]["id"] != humble.public_id.hex
    assert cast.claim(in_turn=True)[0]["id"] == humble.public_id.hex
    assert cast.again(Prediction.objects.get(public_id=cast.claim(in_turn=True)[0]["id"])).priority == 5
    Prediction.objects.filter(pk__in=[row.pk for row in urgent]).delete()


def test_newcomers_join_a_batch_that_was_just_claimed(payer):
    (job,) = cast.claim() if cast.submit(payer, steps=4) else ()
    same = [cast.submit(payer, steps=4, num_images=n) for n in (2, 1, 1)]
    cast.submit(payer, steps=5)
    cast.submit(payer, steps=4, exact=True)

    def join(room: int) -> list[str]:
        joined = work.join(beside=job["id"], worker="worker", lane=cast.LANE, room=room)
        assert {one["batch_key"] for one in joined} <= {job["batch_key"]}
        return [one["id"] for one in joined]

    assert join(3) == [row.public_id.hex for row in same[:2]]
    assert join(3) == [same[2].public_id.hex]
    assert join(3) == []
    cast.submit(payer, steps=4)
    assert cast.succeed(job)
    assert join(3) == []  # it is over


@pytest.mark.parametrize("head_start", [0, 10])
def test_models_that_do_not_fit_together_take_turns_and_nobody_starves(db, head_start):
    """Three models of which one fits, an overload of runs a second apart: turns, and a bound on who is overtaken."""
    models, count = shelve(3, endpoint__max_batch=1), 120
    firsts = [cast.submit(cast.payer(), model=model) for model in models]
    rows = [crowd(firsts[n % 3], 1)[0] for n in range(count)]
    began = timezone.now()
    for n, row in enumerate(rows):
        row.fair_at = began + later(seconds=n)
    Prediction.objects.filter(pk__in=[first.pk for first in firsts]).update(lane="another")
    Prediction.objects.bulk_create(rows)
    loaded, loads, claimed = "", 0, []
    while jobs := cast.claim(warmth=Warmth([loaded], head_start=timedelta(seconds=head_start))):
        loads += jobs[0]["version"] != loaded
        loaded = jobs[0]["version"]
        claimed.append(jobs[0]["id"])
    places = {row.public_id.hex: row.fair_at for row in rows}
    assert len(claimed) == count
    newest = began
    for one in claimed:
        assert newest - places[one] <= timedelta(seconds=head_start), "overtaken by more than the head start"
        newest = max(newest, places[one])
    assert loads == count if head_start == 0 else loads <= count / 3


@pytest.mark.django_db(transaction=True)
def test_engines_that_claim_at_once_share_the_work_without_a_row_twice():
    """Four engines with different models loaded, runs of three workspaces: each row is claimed once, by one of them."""
    models = shelve(3, endpoint__max_batch=8)
    payers = [cast.payer() for _ in range(3)]
    firsts = [cast.submit(payer, model=model) for payer, model in zip(payers, models, strict=True)]
    rows = [row for first in firsts for row in crowd(first, 60)]
    Prediction.objects.bulk_create(rows)
    versions = [version(first) for first in firsts]

    def engine(number: int) -> list[list[work.Job]]:
        warmth = Warmth([versions[number % 3]], head_start=timedelta(seconds=2))
        found: list[list[work.Job]] = []
        empty = 0
        while empty < 3:  # rows may be locked by the others for a moment
            jobs = cast.claim(limit=8, worker=f"engine-{number}", warmth=warmth, in_turn=number == 3)
            if jobs:
                found.append(jobs)
            empty = 0 if jobs else empty + 1
        return found

    batches = [batch for some in at_once(*[partial(engine, number) for number in range(4)]) for batch in some]
    times = Counter(job["id"] for batch in batches for job in batch)
    assert set(times.values()) == {1}
    assert len(times) == len(rows) + len(firsts)
    assert all(len({job["version"] for job in batch}) == 1 for batch in batches)
    assert all(1 <= len(batch) <= 8 for batch in batches)
    assert not Prediction.objects.filter(status="queued").exists()
    assert set(Prediction.objects.values_list("attempt", flat=True)) == {1}
