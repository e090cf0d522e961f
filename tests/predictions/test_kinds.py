"""Films, sounds and meshes: where they are in the output, how they are kept, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from playground import assets, predictions
from playground.models import Asset
from playground.pages.media import media_in
from playground.predictions import work
from tests.predictions import cast
from workers.engine import MediaOutput, films, meshes, sounds

URL = {"type": "object", "properties": {"url": {"type": "string"}}}
LENGTH = {"type": "integer", "minimum": 1, "maximum": 10, "default": 4, "x-measure": "second", "x-order": 1}


def shelve(name: str, unit: str, price: str) -> str:
    """A model that makes what `name` lists, paid by `unit`."""
    manifest = cast.manifest(
        name=name,
        prices=[{"unit": unit, "unit_price": price}],
        endpoint__output={"type": "object", "properties": {name: {"type": "array", "items": URL}}},
    )
    manifest["endpoint"]["input"]["properties"] |= {"length": LENGTH}
    return cast.catalog.publish(cast.publisher(), manifest).model_id


def film(frames: int = 8) -> MediaOutput:
    return films.encode(np.full((frames, 32, 48, 3), 90, np.uint8), fps=8, seed=0)


def sound(seconds: float = 2.0) -> MediaOutput:
    return sounds.encode(np.full((1, int(8000 * seconds)), 0.5, np.float32), rate=8000, seed=0)


def mesh() -> MediaOutput:
    corners = np.eye(3, dtype=np.float32)
    return meshes.encode(corners, np.array([[0, 1, 2]], np.int64), None, seed=0)


def run(payer, model: str, made: MediaOutput, metrics: dict | None = None, *, began_s_ago: float = 0):
    row = cast.submit(payer, model=model)
    [job] = cast.claim()
    cast.move_back(row, started_at=began_s_ago)
    medium: work.Medium = {"data": made.data, "meta": made.meta, "poster": made.poster}
    kept = work.succeed(
        id=job["id"], fence=job["fence"], media=[medium], seed=1, metrics=metrics or {}, logs=[]
    )
    return kept, cast.again(row)


def test_a_film_is_listed_kept_and_paid_by_the_seconds_that_it_lasts(payer):
    model = shelve("videos", "second", "0.01")
    kept, row = run(payer, model, film())
    assert kept
    assert row.quote["amount_micros"] == 40_000  # what was asked for: the ceiling
    assert row.cost_micros == 10_000  # what came: a second
    [shown] = predictions.as_json(row)["output"]["videos"]
    assert (shown["content_type"], shown["width"], shown["height"], shown["duration_ms"]) == (
        "video/mp4",
        48,
        32,
        1000,
    )
    [asset] = row.assets.all()
    assert (asset.kind, asset.duration_ms) == (Asset.Kind.OUTPUT, 1000)
    assert assets.read(asset) == film().data
    [medium] = media_in(predictions.as_json(row)["output"])
    assert medium.kind == "video"
    assert medium.poster


def test_what_lasts_longer_than_was_asked_for_costs_no_more(payer):
    _, row = run(payer, shelve("audios", "second", "0.01"), sound(7.5))
    assert row.cost_micros == row.quote["amount_micros"] == 40_000
    assert predictions.as_json(row)["output"]["audios"][0]["duration_ms"] == 7500


def test_a_mesh_is_a_file_to_take_home(payer):
    _, row = run(payer, shelve("meshes", "request", "0.02"), mesh())
    assert row.cost_micros == 20_000
    [medium] = media_in(predictions.as_json(row)["output"])
    assert (medium.kind, medium.icon, medium.media_type) == ("file", "cube", "model/gltf-binary")


def test_compute_seconds_are_those_that_it_took_and_of_a_batch_the_share(payer):
    model = shelve("videos", "compute_second", "0.001")
    _, row = run(payer, model, film(), {"total_s": 6.0, "batch": 1}, began_s_ago=7)
    assert (row.quote["amount_micros"], row.cost_micros) == (60_000, 6_000)
    _, row = run(payer, model, film(), {"total_s": 6.0, "batch": 4}, began_s_ago=7)
    assert row.cost_micros == 1_500


@pytest.mark.parametrize("told", [{}, {"total_s": 50.0}, {"total_s": "x"}])
def test_a_worker_that_tells_no_seconds_or_too_many_took_those_since_it_began(payer, told):
    model = shelve("videos", "compute_second", "0.001")
    _, row = run(payer, model, film(), told, began_s_ago=7)
    assert 7_000 <= row.cost_micros < 50_000
    assert row.quote["amount_micros"] == 60_000
    cast.money_is_right()


def test_a_canceled_run_costs_its_part_of_the_seconds_and_not_of_the_bound(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer, model=shelve("videos", "compute_second", "0.001"))
    [job] = cast.claim()
    cast.step(job, 2)
    cast.move_back(row, started_at=7)
    row = predictions.cancel(cast.again(row))
    assert 7_000 <= row.cost_micros < 29_000  # half of the bound is 30,000
    cast.money_is_right()


def test_a_run_that_is_canceled_beside_others_costs_its_share_of_the_seconds(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    model = shelve("videos", "compute_second", "0.001")
    rows = [cast.submit(payer, model=model, steps=4) for _ in range(2)]
    jobs = cast.claim(limit=2)
    assert len(jobs) == 2
    for job in jobs:
        cast.step(job, 4)
    cast.move_back(rows[0], started_at=20)
    assert 10_000 <= predictions.cancel(cast.again(rows[0])).cost_micros < 20_000


@pytest.mark.parametrize("cut", [20, -40])
def test_what_is_not_whole_is_not_kept_and_not_paid(payer, cut):
    model = shelve("videos", "second", "0.01")
    for made in (film(), sound(), mesh()):
        _, row = run(payer, model, MediaOutput(made.data[:cut], made.media_type, 48, 32))
        assert (row.status, row.error_code, row.cost_micros) == ("failed", "unusable_output", 0)
        assert not Asset.objects.exists()
