"""Every model of the catalogue, its class opened from a folder of tiny weights and run by the engine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.engine.conftest import Listener
from tests.installing.shrunk import NAMES, STEPS, Weights, input_of, picture, shrunk
from workers import installing
from workers.engine import Engine, Job, Outcome, Recipe, StepReport

MEDIA = {
    "images": "image/png",
    "videos": "video/mp4",
    "audios": "audio/wav",
    "meshes": "model/gltf-binary",
}


def test_files_named_after_their_precision_are_opened(tiny_weights: Weights, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_weights.of("StableDiffusionXLPipeline"), tmp_path / "half"))
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    engine = Engine(device="cpu", threads=1)
    assert engine.open({"family": "diffusers", "weights": str(folder)}).bytes > 10_000
    engine.close()


def test_a_class_that_no_manifest_names_runs_too(tiny_weights: Weights) -> None:
    """AnimateDiff is made of two repositories, so nobody can install it by one name."""
    recipe: Recipe = {"family": "diffusers", "weights": str(tiny_weights.of("AnimateDiffPipeline"))}
    asked = {
        "prompt": "a tall vase",
        "seed": 1,
        "width": 32,
        "height": 32,
        "num_frames": 2,
        "num_inference_steps": 3,
    }
    engine = Engine(device="cpu", threads=1)
    listener = Listener()
    [outcome] = engine.run([Job("one", recipe, asked)], listener)
    assert outcome.status == "succeeded", outcome.error
    assert outcome.outputs[0].media_type == "video/mp4"
    assert any(report.preview for report in listener.reports)
    engine.close()


def test_jobs_with_pictures_run_one_after_the_other_each_with_its_own_fate(tiny_weights: Weights) -> None:
    entry = shrunk("sdxl-img2img")
    recipe: Recipe = {**entry.recipe, "weights": str(tiny_weights.of(entry.pipeline))}  # type: ignore[typeddict-item]
    asked = {"prompt": "a tall vase", "seed": 5, "image": picture(), "strength": 1.0}
    engine = Engine(device="cpu", threads=1)
    jobs = [
        Job("two", recipe, {**asked, "num_images": 2}),
        Job("stopped", recipe, {**asked, "seed": 9}),
        Job("last", recipe, {**asked, "seed": 6}),
    ]
    stop_early = Listener()

    def on_step(reports: Sequence[StepReport]) -> list[str]:
        stop_early(reports)
        return ["stopped"]

    two, stopped, last = engine.run(jobs, on_step)
    assert [two.status, stopped.status, last.status] == ["succeeded", "stopped", "succeeded"]
    assert [output.meta["seed"] for output in two.outputs] == [5, 6]
    assert stop_early.of("stopped") == []
    assert stop_early.steps("last") == [1, 2]
    assert two.metrics is not None
    assert two.metrics.batch == 2
    engine.close()


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_is_stopped_and_runs_again(name: str, tiny_weights: Weights) -> None:
    from playground import examiner

    entry = shrunk(name)
    endpoint = installing.complete(entry)["endpoint"]
    recipe: Recipe = {**entry.recipe, "weights": str(tiny_weights.of(entry.pipeline))}  # type: ignore[typeddict-item]
    defaults = {
        key: one["default"]
        for key, one in endpoint["input"]["properties"].items()
        if one.get("default") is not None
    }
    asked = defaults | input_of(endpoint["input"]["properties"], endpoint["input"]["required"])
    engine = Engine(device="cpu", threads=1)

    def run(listener: Listener) -> Outcome:
        return engine.run([Job("one", recipe, asked)], listener)[0]

    listener = Listener()
    first = run(listener)
    assert first.status == "succeeded", first.error
    steps = listener.steps("one")
    assert steps == list(range(1, len(steps) + 1))
    assert listener.reports[-1].steps == len(steps) >= STEPS
    [output] = first.outputs
    [listed] = [key for key in endpoint["output"]["properties"] if key != "seed"]
    assert output.media_type == MEDIA[listed]
    found = examiner.look(output.data)
    assert found.media_type == output.media_type
    assert (found.width, found.height) == (output.width, output.height)
    if output.duration_s is not None:
        assert found.duration_ms == pytest.approx(output.duration_s * 1000, abs=2)
    assert run(Listener(one=1)).status == "stopped"
    assert run(Listener()).outputs[0].data == output.data
    engine.close()
