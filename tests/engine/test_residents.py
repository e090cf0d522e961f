from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine import tiny
from tests.engine.conftest import Listener
from workers.engine import Engine, EngineError, Job, Loading, Recipe, recipe_key
from workers.engine.families import find

Make = Callable[..., Job]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("three")
    for number, name in enumerate(("a", "b", "c")):
        tiny.stable_diffusion(root / name, seed=number)
    return root


def recipe(name: str) -> Recipe:
    return {"family": "diffusers", "weights": name, "id": name, "defaults": {"num_inference_steps": 3}}


def names(engine: Engine) -> list[str]:
    return [resident.id for resident in engine.loaded()]


def test_the_least_worth_makes_room(three: Path, job: Make) -> None:
    size = Engine(device="cpu", threads=1, weights_folder=three).open(recipe("a")).bytes
    engine = Engine(device="cpu", threads=1, weights_folder=three, memory_budget_bytes=int(size * 2.5))
    for _ in range(40):  # far more worth than what loading took a little longer or less could change
        engine.open(recipe("a"))
    engine.open(recipe("b"))
    assert names(engine) == ["b", "a"]
    engine.open(recipe("c"))
    assert names(engine) == ["c", "a"]
    assert (engine.residents.loads, engine.residents.evictions) == (3, 1)
    assert engine.swap_s > 0
    outcomes = engine.run([job("1", recipe("b")), job("2", recipe("a"))], Listener())
    assert [outcome.status for outcome in outcomes] == ["succeeded", "succeeded"]
    assert len(engine.loaded()) == 2
    engine.close()
    assert engine.loaded() == []


def test_what_can_never_fit_is_refused_before_anything_goes(three: Path) -> None:
    size = Engine(device="cpu", threads=1, weights_folder=three).open(recipe("a")).bytes
    engine = Engine(device="cpu", threads=1, weights_folder=three, memory_budget_bytes=int(size * 1.5))
    engine.open(recipe("a"))
    with pytest.raises(EngineError) as caught:
        engine.open({**recipe("b"), "working_mb": size})
    assert (caught.value.code, caught.value.retryable) == ("out_of_memory", False)
    assert "this machine has" in caught.value.sentence
    assert names(engine) == ["a"]
    with pytest.raises(EngineError, match="working_mb"):
        engine.open({**recipe("b"), "working_mb": "much"})  # type: ignore[typeddict-item]
    assert names(engine) == ["a"]


def test_room_is_kept_for_what_a_run_needs_beyond_its_weights(three: Path) -> None:
    size = Engine(device="cpu", threads=1, weights_folder=three).open(recipe("a")).bytes
    budget = int(size * 2.5) + (1 << 20)
    engine = Engine(device="cpu", threads=1, weights_folder=three, memory_budget_bytes=budget)
    engine.open(recipe("a"))
    engine.open({**recipe("b"), "working_mb": 1})
    assert names(engine) == ["b", "a"]
    holding, _ = engine.residents.hold(recipe("a"))
    engine.residents.learn(holding, int(size * 1.2) + (1 << 20))
    assert names(engine) == ["a", "b"]
    engine.open(recipe("a"))  # the room is made when the next run needs it
    assert names(engine) == ["a"]
    engine.residents.learn(holding, budget)  # once that much was needed: alone it may try again
    engine.open(recipe("b"))
    engine.open(recipe("a"))
    assert names(engine) == ["a"]


def test_a_run_teaches_what_it_needs(three: Path, job: Make) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    side = 640  # eight pictures are more than malloc ever serves from what was freed before: it asks the kernel anew
    [outcome] = engine.run([job(recipe=recipe("a"), width=side, height=side, num_images=8)], Listener())
    assert outcome.metrics is not None
    [holding] = engine.residents.holdings.values()
    if not os.access("/proc/self/clear_refs", os.W_OK):  # where the kernel forgets no peak, none is learnt
        assert holding.working_bytes == 0
        return
    pictures = 8 * side * side * 3 * 4
    assert pictures // 2 < holding.working_bytes < outcome.metrics.peak_memory_bytes


def test_what_was_needed_before_is_not_learnt_where_the_kernel_measures_no_peak_anew(
    three: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.engine.machine._CLEAR_REFS", Path("/proc/none"))
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    engine.open(recipe("a"))
    once = b"x" * (256 << 20)
    del once
    engine.run([job(recipe=recipe("a"))], Listener())
    [holding] = engine.residents.holdings.values()
    assert holding.working_bytes < 128 << 20


def test_what_is_pinned_goes_last(three: Path) -> None:
    size = Engine(device="cpu", threads=1, weights_folder=three).open(recipe("a")).bytes
    engine = Engine(device="cpu", threads=1, weights_folder=three, memory_budget_bytes=int(size * 2.5))
    engine.open({**recipe("a"), "pin": True})
    for _ in range(40):
        engine.open(recipe("b"))
    engine.open(recipe("c"))
    assert names(engine) == ["c", "a"]
    engine.open({**recipe("b"), "pin": True})
    assert names(engine) == ["b", "a"]
    engine.open(recipe("c"))  # wanted now, and nothing else is there to go
    assert "c" in names(engine)


def test_making_ready_drives_nobody_out(three: Path) -> None:
    size = Engine(device="cpu", threads=1, weights_folder=three).open(recipe("a")).bytes
    engine = Engine(device="cpu", threads=1, weights_folder=three, memory_budget_bytes=int(size * 2.5))
    assert engine.make_ready(recipe("a"))
    assert engine.make_ready(recipe("b"))
    assert not engine.make_ready(recipe("c"))
    assert names(engine) == ["b", "a"]
    assert engine.make_ready({**recipe("c"), "pin": True})
    assert "c" in names(engine)
    assert engine.swap_s > 0
    assert len(names(engine)) == 2


def test_weights_wait_in_the_machines_memory_and_come_back(three: Path, job: Make) -> None:
    """On a CPU both memories are one: what is checked here is who is where, and that pictures stay the same."""
    size = Engine(device="cpu", threads=1, weights_folder=three).open(recipe("a")).bytes
    engine = Engine(
        device="cpu",
        threads=1,
        weights_folder=three,
        memory_budget_bytes=int(size * 1.5),
        parking_bytes=int(size * 1.5),
    )
    [before] = engine.run([job(recipe=recipe("a"))], Listener())
    engine.open(recipe("b"))
    assert (names(engine), [one.id for one in engine.residents.parked()]) == (["b"], ["a"])
    [after] = engine.run([job(recipe=recipe("a"))], Listener())
    assert after.outputs[0].data == before.outputs[0].data
    assert (names(engine), [one.id for one in engine.residents.parked()]) == (["a"], ["b"])
    assert (engine.residents.loads, engine.residents.returns) == (2, 1)
    engine.open(recipe("c"))  # b has no room beside a there
    assert (names(engine), [one.id for one in engine.residents.parked()]) == (["c"], ["a"])
    engine.close()
    assert (engine.loaded(), engine.residents.parked()) == ([], [])


def test_a_resident_knows_its_size_and_time_and_a_second_run_does_not_wait(three: Path, job: Make) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    listener = Listener()
    [first] = engine.run([job(recipe=recipe("a"))], listener)
    [resident] = engine.loaded()
    assert resident.key == recipe_key(recipe("a"))
    assert resident.bytes > 10_000
    assert first.metrics is not None
    assert first.metrics.load_s >= resident.load_s > 0
    assert (listener.reports[0].step, listener.reports[0].steps) == (0, 3)
    assert "loaded" in listener.reports[0].logs[0]
    again = Listener()
    [second] = engine.run([job(recipe=recipe("a"))], again)
    assert second.metrics is not None
    assert second.metrics.load_s == 0
    assert again.reports[0].step == 1


def test_two_versions_of_the_same_weights_are_both_loaded(three: Path) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    first = engine.open(recipe("a"))
    assert engine.open({**recipe("a"), "id": "another", "max_batch": 2}).key == first.key
    assert names(engine) == ["a", "another"]


def test_loading_is_seen_from_another_thread(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    seen: list[list[Loading]] = []
    locate = __import__("workers.engine.weights", fromlist=["locate"]).locate

    def look_aside(*args: object, **kwargs: object) -> Path:
        looker = threading.Thread(target=lambda: seen.append(engine.loading()))
        looker.start()
        looker.join()
        return locate(*args, **kwargs)  # type: ignore[no-any-return]

    monkeypatch.setattr("workers.engine.residency.weights.locate", look_aside)
    engine.open(recipe("a"))
    assert [loading.id for loading in seen[0]] == ["a"]
    assert seen[0][0].expected_s is None
    assert engine.loading() == []
    engine.close()
    engine.open(recipe("a"))
    assert seen[1][0].expected_s is not None


def test_how_long_loading_takes_is_guessed_from_what_others_of_its_size_took(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, seen = Engine(device="cpu", threads=1, weights_folder=three), []
    family = find("diffusers")
    opens = family.open

    def look_aside(*args: object, **kwargs: object) -> object:
        seen.extend(engine.loading())
        return opens(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(family, "open", look_aside)
    first = engine.open(recipe("a"))
    engine.open(recipe("b"))
    assert [loading.id for loading in seen] == ["a", "b"]
    assert seen[0].expected_s is None
    assert seen[1].expected_s == pytest.approx(first.load_s, rel=0.2)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not enough memory: 5 GiB")],
)
def test_a_batch_that_does_not_fit_is_halved_at_once(three: Path, job: Make, error: Exception) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    engine.open(recipe("b"))
    engine.open(recipe("a"))
    exhaust(engine, "a", error)
    jobs = [job(str(n), recipe("a"), seed=n) for n in range(4)]
    listener = Listener()
    outcomes = engine.run(jobs, listener)
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 4
    assert {outcome.metrics.batch for outcome in outcomes if outcome.metrics} == {2}
    assert names(engine) == ["a"]  # what else was there made room
    for one in jobs:
        said = [line for report in listener.reports if report.id == one.id for line in report.logs]
        assert sum("begins again with less" in line for line in said) == 1
    again = engine.run(jobs, Listener())
    assert {outcome.metrics.batch for outcome in again if outcome.metrics} == {2}  # remembered


def test_what_a_batch_may_have_is_learnt_in_pictures(three: Path, job: Make) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    engine.open(recipe("a"))
    exhaust(engine, "a", MemoryError())
    pairs = [job(str(n), recipe("a"), seed=n, num_images=2) for n in range(3)]
    sizes = [one.metrics.batch for one in engine.run(pairs, Listener()) if one.metrics]
    assert sizes == [4, 4, 2]  # of the six that were too many, by whole jobs
    singles = [job(str(n), recipe("a"), seed=n) for n in range(4)]
    assert [one.metrics.batch for one in engine.run(singles, Listener()) if one.metrics] == [3, 3, 3, 1]
    assert [one.metrics.batch for one in engine.run(pairs, Listener()) if one.metrics] == [2, 2, 2]
    [alone] = engine.run([job("alone", recipe("a"), num_images=4)], Listener())
    assert alone.metrics is not None
    assert alone.metrics.batch == 4  # it may be too many, but nobody can take fewer of it


def test_what_does_not_fit_by_itself_fails_and_may_come_back(
    three: Path, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    kind = type(engine.residents.hold(recipe("a"))[0].opened)
    tried: list[int] = []

    def exhausted(self: object, jobs: list[Job], on_step: object) -> None:
        tried.append(len(jobs))
        raise MemoryError

    monkeypatch.setattr(kind, "run", exhausted)
    engine.open(recipe("b"))
    [alone] = engine.run([job("alone", recipe("a"))], Listener())
    assert tried == [1, 1]  # once more, after the other had made room
    outcomes = engine.run([job(str(n), recipe("a"), seed=n) for n in range(3)], Listener())
    assert tried == [1, 1, 3, 2, 1, 1, 1]
    for outcome in [alone, *outcomes]:
        assert outcome.error is not None
        assert (outcome.error.code, outcome.error.retryable) == ("out_of_memory", True)
    assert engine.loaded() == []


def test_weights_that_do_not_fit_beside_others_are_loaded_without_them(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    engine.open(recipe("b"))
    family = find("diffusers")
    load = family.open

    def crowded(wanted: Recipe, **named: Any) -> object:
        if engine.loaded():
            raise MemoryError
        return load(wanted, **named)

    monkeypatch.setattr(family, "open", crowded)
    engine.open(recipe("a"))
    assert names(engine) == ["a"]
    monkeypatch.setattr(family, "open", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(EngineError, match="ran out of memory"):
        engine.open(recipe("c"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hashes": {"model_index.json": "0" * 64}},
        {"pipeline": "FluxPipeline"},
        {"scheduler": {"class": "NoSuchScheduler"}},
        {"accelerations": {"quantization": {"quant_backend": "none-such"}}},
    ],
)
def test_what_cannot_be_opened_drives_nobody_out(three: Path, wrong: dict[str, Any]) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    size = engine.open(recipe("a")).bytes
    engine.residents.budget_bytes = int(size * 1.5)
    with pytest.raises(EngineError) as refused:
        engine.open({**recipe("b"), **wrong})  # type: ignore[typeddict-item]
    assert refused.value.code == "bad_weights"
    assert names(engine) == ["a"]
    assert engine.residents.evictions == 0


def test_what_does_not_fit_after_all_as_it_is_made_ready_drives_nobody_out(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    engine.open(recipe("a"))
    monkeypatch.setattr(find("diffusers"), "open", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(EngineError, match="ran out of memory"):
        engine.make_ready(recipe("b"))
    assert names(engine) == ["a"]


def test_loads_and_evictions_are_counted(three: Path) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    size = engine.open(recipe("a")).bytes
    engine = Engine(device="cpu", threads=1, weights_folder=three, memory_budget_bytes=int(size * 1.5))
    for name in ("a", "b", "b", "a"):
        engine.open(recipe(name))
    assert (engine.residents.loads, engine.residents.evictions) == (3, 2)
    used, budget = engine.memory()
    assert used > 10 * size > 0
    assert budget == int(size * 1.5)


def exhaust(engine: Engine, name: str, error: Exception) -> None:
    """Let the pipeline that is open now fail by `error`; one that is opened anew works."""

    def exhausted(*args: object, **kwargs: object) -> None:
        raise error

    engine.residents.holdings[recipe_key(recipe(name))].opened._pipe.unet.forward = exhausted  # type: ignore[attr-defined]


def test_an_unforeseen_failure_is_an_outcome_too(three: Path, job: Make) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=three)
    engine.open(recipe("a"))
    unet = engine.residents.holdings[recipe_key(recipe("a"))].opened._pipe.unet  # type: ignore[attr-defined]

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret path /home/somebody")

    unet.forward = broken
    [outcome] = engine.run([job(recipe=recipe("a"))], Listener())
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.retryable) == ("engine_failed", True)
    assert "secret" not in outcome.error.sentence


def test_the_key_is_about_what_is_opened(sd: Recipe) -> None:
    assert recipe_key(sd) == recipe_key(
        {**sd, "id": "x", "defaults": {}, "batch_on": ["width"], "max_batch": 3}
    )
    assert recipe_key(sd) != recipe_key({**sd, "dtype": "float16"})
