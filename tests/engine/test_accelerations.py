"""Accelerations of recipes, each really run on tiny pipelines and compared with the plain output."""

from __future__ import annotations

import importlib.util
import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.conftest import Listener
from workers.engine import Engine, EngineError, Job, Recipe, recipe_key
from workers.engine.families.diffusers import accelerations

Make = Callable[..., Job]
SKIPPING = {"config": "FirstBlockCacheConfig", "threshold": 1e6}  # everything that may be skipped is


@pytest.fixture
def fresh(weights: Path) -> Engine:
    """An engine of its own, which forgets with the test."""
    return Engine(device="cpu", threads=1, weights_folder=weights)


def recipe(weights: str = "flux", **asked: object) -> Recipe:
    defaults = {"num_inference_steps": 6, "guidance_scale": 3.0}
    made: Recipe = {"family": "diffusers", "weights": weights, "defaults": defaults}
    return {**made, "accelerations": asked} if asked else made


def run(engine: Engine, job: Job) -> tuple[bytes, list[str]]:
    listener = Listener()
    [outcome] = engine.run([job], listener)
    assert outcome.status == "succeeded", outcome.error
    return outcome.outputs[0].data, [line for report in listener.reports for line in report.logs]


def levels(one: bytes, other: bytes) -> int:
    """The largest difference of two pictures, in levels of 255."""
    pixels = [np.asarray(Image.open(io.BytesIO(data)), dtype=np.int16) for data in (one, other)]
    return int(np.abs(pixels[0] - pixels[1]).max())


def pipe_of(engine: Engine, one: Recipe) -> Any:
    return engine.residents.holdings[recipe_key(one)].opened._pipe  # type: ignore[attr-defined]


def test_what_is_asked_for_opens_another_pipeline(sd: Recipe) -> None:
    assert recipe_key(sd) != recipe_key({**sd, "accelerations": {"vae_tiling": True}})


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ({"attention_backend": "_native_math"}, 1),
        ({"channels_last": False}, 1),
        ({"vae_tiling": True}, 0),
        ({"vae_slicing": True}, 0),
        ({"offload": {"kind": "group", "offload_type": "leaf_level"}}, 0),
        ({"offload": {"kind": "group", "offload_type": "block_level", "num_blocks_per_group": 1}}, 0),
        ({"cache": {"config": "FirstBlockCacheConfig", "threshold": 0.0}}, 0),
        ({"cache": {"config": "TextKVCacheConfig"}}, 0),
        ({"cache": {"config": "TaylorSeerCacheConfig", "disable_cache_before_step": 99}}, 1),
    ],
    ids=str,
)
def test_what_changes_nothing_that_one_sees(
    fresh: Engine, job: Make, asked: Mapping[str, Any], most: int
) -> None:
    plain, _ = run(fresh, job(recipe=recipe()))
    made, said = run(fresh, job(recipe=recipe(**asked)))
    assert not [line for line in said if "without" in line]
    assert levels(plain, made) <= most


@pytest.mark.parametrize(
    "cache",
    [
        SKIPPING,
        {"config": "TaylorSeerCacheConfig", "cache_interval": 3, "disable_cache_before_step": 2},
        {
            "config": "MagCacheConfig",
            "num_inference_steps": 6,
            "mag_ratios": [1.0] * 6,
            "threshold": 0.5,
            "retention_ratio": 0.2,
        },
        {
            "config": "PyramidAttentionBroadcastConfig",
            "spatial_attention_block_skip_range": 2,
            "spatial_attention_timestep_skip_range": [0, 1000],
        },
    ],
    ids=lambda cache: cache["config"],
)
def test_a_step_cache_skips_and_forgets(fresh: Engine, job: Make, cache: Mapping[str, Any]) -> None:
    """It makes another picture, the same one each time: also after a run that was stopped in its midst."""
    plain, _ = run(fresh, job(recipe=recipe()))
    asked = job(recipe=recipe(cache=cache))
    made, said = run(fresh, asked)
    assert not [line for line in said if "without" in line]
    assert pipe_of(fresh, asked.recipe).transformer.is_cache_enabled
    assert run(fresh, asked)[0] == made
    [stopped] = fresh.run([asked], Listener(one=3))
    assert stopped.status == "stopped"
    assert run(fresh, asked)[0] == made
    assert plain != made


def test_weights_are_kept_in_eight_bits_and_computed_with_in_more(fresh: Engine, job: Make) -> None:
    plain, _ = run(fresh, job(recipe=recipe()))
    asked = recipe(layerwise_casting={"storage_dtype": "float8_e4m3fn", "compute_dtype": "float32"})
    made, _ = run(fresh, job(recipe=asked))
    kept = {parameter.dtype for parameter in pipe_of(fresh, asked).transformer.parameters()}
    assert torch.float8_e4m3fn in kept
    assert plain != made


@pytest.mark.parametrize(
    ("of", "asked", "said"),
    [
        ("sd", {"cache": SKIPPING}, "without the step cache"),
        ("flux", {"attention_backend": "sage"}, "without the attention backend"),
        ("flux", {"attention_backend": "flash_hub"}, "asks no hub"),
        ("flux", {"offload": {"kind": "model"}}, "Offloading is left out"),
        ("flux", {"offload": {"kind": "sequential"}}, "Offloading is left out"),
        ("flux", {"compile": {"nonsense": 1}}, "without the compilation"),
        ("sd", {"vae_tiling": True, "vae_slicing": True}, ""),
    ],
    ids=str,
)
def test_what_this_machine_cannot_do_is_left_out_and_said_in_the_log(
    fresh: Engine, job: Make, of: str, asked: Mapping[str, Any], said: str
) -> None:
    plain, _ = run(fresh, job(recipe=recipe(of)))
    made, lines = run(fresh, job(recipe=recipe(of, **asked)))
    assert made == plain
    assert any(said in line for line in lines) or not said
    again, lines = run(fresh, job(recipe=recipe(of, **asked)))
    assert again == plain
    assert any(said in line for line in lines) or not said


@pytest.mark.parametrize(
    ("backend", "module", "package"),
    [
        ("torchao", "torchao", "torchao"),
        ("bitsandbytes_4bit", "bitsandbytes", "bitsandbytes"),
        ("quanto", "optimum", "optimum-quanto"),
        ("gguf", "gguf", "gguf"),
        ("magic", "magic", "magic"),
    ],
)
def test_a_quantization_without_its_package_is_an_error_that_names_it(
    fresh: Engine, backend: str, module: str, package: str
) -> None:
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed here")
    asked = recipe(quantization={"quant_backend": backend, "components_to_quantize": ["transformer"]})
    with pytest.raises(EngineError) as caught:
        fresh.open(asked)
    assert caught.value.code == "bad_weights"
    assert package in caught.value.sentence


@pytest.mark.parametrize(
    ("of", "asked"),
    [
        ("sd", {"regional": True, "backend": "eager"}),
        ("pixart", {"regional": True, "backend": "eager"}),
    ],
)
def test_compiled_by_parts_where_there_are_such_and_whole_where_not(
    fresh: Engine, job: Make, of: str, asked: Mapping[str, Any]
) -> None:
    extra = {"use_resolution_binning": False} if of == "pixart" else {}
    plain, _ = run(fresh, job(recipe=recipe(of), **extra))
    compiled = recipe(of, compile=asked)
    made, lines = run(fresh, job(recipe=compiled, **extra))
    assert levels(plain, made) <= 1
    assert any("compiled whole" in line for line in lines) == (of == "pixart")
    pipe = pipe_of(fresh, compiled)
    model = pipe.unet if of == "sd" else pipe.transformer
    parts = [part for part in model.modules() if part._compiled_call_impl is not None]
    assert parts
    assert (parts == [model]) == (of == "pixart")


def test_where_there_is_no_compiler_the_plain_model_runs(
    fresh: Engine, job: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing that was compiled earlier
    plain, _ = run(fresh, job(recipe=recipe("sd")))
    asked = recipe("sd", compile={"regional": True})
    with config.patch({"cpp.cxx": (str(tmp_path / "no-such-compiler"),), "compile_threads": 1}):
        made, lines = run(fresh, job(recipe=asked))
        assert made == plain
        assert any("Compilation failed" in line for line in lines)
        assert run(fresh, job(recipe=asked))[0] == plain


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler on this machine")
def test_a_compiled_model_makes_the_same_picture(
    fresh: Engine, job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one test that compiles in earnest, which takes its time."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, _ = run(fresh, job(recipe=recipe("sd")))
    made, lines = run(fresh, job(recipe=recipe("sd", compile={"regional": True})))
    assert not [line for line in lines if "failed" in line]
    assert levels(plain, made) <= 2


def test_names_of_the_library_are_its_own() -> None:
    from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    assert set(accelerations._PACKAGES) <= set(AUTO_QUANTIZATION_CONFIG_MAPPING)
