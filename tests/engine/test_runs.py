from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.engine.conftest import STEPS, Listener
from workers.engine import Engine, Job, Outcome, Recipe

Make = Callable[..., Job]


def pixels(outcome: Outcome, number: int = 0) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(outcome.outputs[number].data)).convert("RGB")).astype(int)


def test_it_works(engine: Engine, job: Make) -> None:
    listener = Listener()
    [outcome] = engine.run([job(seed=7)], listener)
    assert outcome.status == "succeeded", outcome.error
    [output] = outcome.outputs
    assert (output.media_type, output.width, output.height) == ("image/png", 64, 64)
    assert pixels(outcome).shape == (64, 64, 3)
    assert outcome.seed == output.meta["seed"] == 7
    assert output.meta["encoder"] == {"format": "PNG", "compress_level": 4, "library": "pillow"}
    assert listener.steps("one") == list(range(1, STEPS + 1))
    assert {report.steps for report in listener.of("one")} == {STEPS}
    metrics = outcome.metrics
    assert metrics is not None
    assert (metrics.batch, metrics.steps, metrics.device, metrics.dtype) == (1, STEPS, "cpu", "float32")
    assert {"torch", "diffusers", "transformers"} <= set(metrics.versions)
    assert metrics.peak_memory_bytes > 0
    assert metrics.steps_s > 0


@pytest.mark.parametrize("name", ["sd", "flux", "pixart"])
def test_every_kind_of_hook_reports_steps_and_previews(engine: Engine, job: Make, name: str) -> None:
    recipe: Recipe = {"family": "diffusers", "weights": name, "defaults": {"num_inference_steps": 8}}
    extra = {"use_resolution_binning": False} if name == "pixart" else {}
    listener = Listener()
    [outcome] = engine.run([job(recipe=recipe, **extra)], listener)
    assert outcome.status == "succeeded", outcome.error
    assert listener.steps("one") == list(range(1, 9))
    frames = [report.preview for report in listener.of("one") if report.preview]
    assert len(set(frames)) >= 5
    again = Listener()
    stopped = engine.run([job(recipe=recipe, **extra)], Listener(one=3))
    assert stopped[0].status == "stopped"
    [repeated] = engine.run([job(recipe=recipe, **extra)], again)
    assert repeated.outputs[0].data == outcome.outputs[0].data


def test_a_pipeline_without_any_hook_is_followed_by_its_scheduler(weights, sd: Recipe, job: Make) -> None:  # type: ignore[no-untyped-def]
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    engine.open(sd)
    opened = next(iter(engine.residents.holdings.values())).opened
    hooks = ("callback_on_step_end", "callback", "callback_steps")
    opened._parameters = {k: v for k, v in opened._parameters.items() if k not in hooks}  # type: ignore[attr-defined]
    listener = Listener()
    [outcome] = engine.run([job()], listener)
    assert outcome.status == "succeeded", outcome.error
    assert listener.steps("one") == list(range(1, STEPS + 1))
    assert engine.run([job()], Listener(one=2))[0].status == "stopped"
    assert engine.run([job()], Listener())[0].outputs[0].data == outcome.outputs[0].data


def test_previews_are_small_distinct_and_never_late(engine: Engine, job: Make) -> None:
    listener = Listener()
    engine.run([job(num_inference_steps=20, width=384, height=256)], listener)
    frames = {report.step: report.preview for report in listener.of("one") if report.preview}
    assert len(set(frames.values())) >= 6
    assert max(frames) <= 16
    for frame in frames.values():
        image = Image.open(io.BytesIO(frame))
        assert image.format == "WEBP"
        assert max(image.size) <= 256


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(engine: Engine, job: Make) -> None:
    first, second, other = (engine.run([job(seed=seed)], Listener())[0] for seed in (3, 3, 4))
    assert first.outputs[0].data == second.outputs[0].data
    assert first.outputs[0].data != other.outputs[0].data


def test_watching_changes_nothing(engine: Engine, job: Make, sd: Recipe) -> None:
    blind: Recipe = {**sd, "previews": False}
    listener = Listener()
    [unseen] = engine.run([job(recipe=blind)], listener)
    assert not any(report.preview for report in listener.reports)
    assert unseen.outputs[0].data == engine.run([job()], Listener())[0].outputs[0].data


def test_a_batch_is_within_one_level_of_each_alone(engine: Engine, job: Make) -> None:
    jobs = [
        job(f"j{seed}", seed=seed, prompt=prompt) for seed, prompt in enumerate(["a vase", "hills", "dawn"])
    ]
    together = engine.run(jobs, Listener())
    for one, outcome in zip(jobs, together, strict=True):
        assert outcome.id == one.id
        assert outcome.metrics is not None
        assert outcome.metrics.batch == 3
        [alone] = engine.run([one], Listener())
        assert np.abs(pixels(outcome) - pixels(alone)).max() <= 1


def test_exact_jobs_run_alone_and_others_only_with_their_like(engine: Engine, job: Make) -> None:
    jobs = [
        job("a"),
        job("exact", exact=True),
        job("b", seed=2),
        job("small", width=32),
        job("negative", negative_prompt="hills"),
    ]
    sizes = {outcome.id: outcome.metrics.batch for outcome in engine.run(jobs, Listener()) if outcome.metrics}
    assert sizes == {"a": 2, "exact": 1, "b": 2, "small": 1, "negative": 1}


def test_a_batch_is_never_larger_than_the_recipe_allows(engine: Engine, job: Make, sd: Recipe) -> None:
    narrow: Recipe = {**sd, "max_batch": 2}
    outcomes = engine.run([job(str(n), narrow, seed=n) for n in range(3)], Listener())
    assert [outcome.metrics.batch for outcome in outcomes if outcome.metrics] == [2, 2, 1]


def test_recipes_share_weights_and_keep_their_own_defaults(engine: Engine, job: Make, sd: Recipe) -> None:
    short: Recipe = {**sd, "defaults": {"num_inference_steps": 3}}
    listener = Listener()
    outcomes = engine.run(
        [job("long"), job("short", short), job("given", short, num_inference_steps=4)], listener
    )
    assert [outcome.status for outcome in outcomes] == ["succeeded"] * 3
    assert [len(listener.steps(name)) for name in ("long", "short", "given")] == [STEPS, 3, 4]


def test_several_pictures_of_one_job_have_consecutive_seeds(engine: Engine, job: Make) -> None:
    [outcome] = engine.run([job(seed=5, num_images=2)], Listener())
    assert [output.meta["seed"] for output in outcome.outputs] == [5, 6]
    [second] = engine.run([job(seed=6)], Listener())
    assert np.abs(pixels(outcome, 1) - pixels(second)).max() <= 1


@pytest.mark.parametrize(
    ("name", "format"), [("webp", "WEBP"), ("jpeg", "JPEG"), ("jpg", "JPEG"), ("png", "PNG")]
)
def test_files_hold_the_picture_and_nothing_else(engine: Engine, job: Make, name: str, format: str) -> None:
    [outcome] = engine.run([job(output_format=name)], Listener())
    image = Image.open(io.BytesIO(outcome.outputs[0].data))
    assert image.format == format
    assert outcome.outputs[0].media_type == Image.MIME[format]
    assert not image.getexif()
    assert not {"exif", "icc_profile", "xmp", "comment"} & set(image.info)


def test_a_prompt_that_is_too_long_is_said_to_be(engine: Engine, job: Make) -> None:
    listener = Listener()
    [outcome] = engine.run([job(prompt="a very long prompt " * 4)], listener)
    assert outcome.status == "succeeded"
    [line] = [line for report in listener.of("one") for line in report.logs]
    assert "reads the first 16" in line
    assert outcome.logs == ()
    short = Listener()
    engine.run([job(prompt="a vase")], short)
    assert not any(report.logs for report in short.of("one"))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt": 3}, "prompt must be text"),
        ({"seed": None}, "seed"),
        ({"seed": -1}, "seed"),
        ({"width": 63}, "divisible by 8"),
        ({"generator": 1}, "generator"),
        ({"output_type": "latent"}, "output_type"),
        ({"no_such_thing": 1}, "no_such_thing"),
        ({"output_format": "tiff"}, "tiff"),
        ({"num_images": 0}, "num_images"),
    ],
)
def test_an_unusable_input_fails_alone(
    engine: Engine, job: Make, asked: dict[str, object], says: str
) -> None:
    bad, good = engine.run([job("bad", **asked), job("good")], Listener())
    assert bad.status == "failed"
    assert bad.error is not None
    assert bad.error.code == "invalid_input"
    assert not bad.error.retryable
    assert says in bad.error.sentence
    assert good.status == "succeeded"


def test_numbers_that_are_no_colours_fail_only_their_own_job(weights, sd: Recipe, job: Make) -> None:  # type: ignore[no-untyped-def]
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    engine.open(sd)
    pipe = next(iter(engine.residents.holdings.values())).opened._pipe  # type: ignore[attr-defined]
    decode = pipe.vae.decode

    def spoil(latents, *args, **kwargs):  # type: ignore[no-untyped-def]
        decoded = decode(latents, *args, **kwargs)
        if len(latents) == 3:
            decoded[0][0] = float("nan")
            decoded[0][1] = -1.0
        return decoded

    pipe.vae.decode = spoil
    nan, black, good = engine.run([job(name, seed=n) for n, name in enumerate("xyz")], Listener())
    assert nan.error is not None
    assert (nan.error.code, nan.error.retryable) == ("unusable_output", False)
    assert black.error is not None
    assert "black" in black.error.sentence
    assert good.status == "succeeded"


def test_the_sketch_is_learnt_and_resembles_the_picture(weights, sd: Recipe, job: Make) -> None:  # type: ignore[no-untyped-def]
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    for start in range(0, 24, 8):
        outcomes = engine.run([job(str(n), seed=start + n) for n in range(8)], Listener())
    view = next(iter(engine.residents.holdings.values())).opened._view  # type: ignore[attr-defined]
    assert all(outcome.status == "succeeded" for outcome in outcomes)
    assert view._learnt == 24
    assert view.can_sketch


@pytest.mark.parametrize(("decode_s", "decodes"), [(0.0001, STEPS * 4 // 5 + 1), (10.0, 1)])
def test_one_alone_sees_sketches_where_decoding_would_double_the_wait(
    weights,  # type: ignore[no-untyped-def]
    sd: Recipe,
    job: Make,
    monkeypatch: pytest.MonkeyPatch,
    decode_s: float,
    decodes: int,
) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    for start in range(0, 24, 8):
        engine.run([job(str(n), seed=start + n) for n in range(8)], Listener())
    opened = next(iter(engine.residents.holdings.values())).opened
    opened._costs.decode, opened._costs.step = decode_s, 1.0  # type: ignore[attr-defined]
    vae, made = opened._pipe.vae, []  # type: ignore[attr-defined]
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda *args, **kwargs: (made.append(1), decode(*args, **kwargs))[1])
    listener = Listener()
    engine.run([job(seed=7)], listener)
    assert len(made) == decodes
    assert sum(report.preview is not None for report in listener.of("one")) == STEPS * 4 // 5
