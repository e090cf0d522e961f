"""Accelerations in a manifest: names of the library, and nothing that breaks what the endpoint promises."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from typing import Any

import pytest

from marketplace import catalog, schema
from marketplace.catalog import accelerations
from tests.predictions import cast

FLUX = {"family": "diffusers", "pipeline": "FluxPipeline", "dtype": "bfloat16"}
LORAS = {
    "type": "array",
    "maxItems": 2,
    "items": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "x-media": [schema.ADAPTER_TYPE]},
            "weight": {"type": "number", "minimum": -1, "maximum": 1},
        },
    },
}
FBC = {"config": "FirstBlockCacheConfig", "threshold": 0.08}
MAG = {"config": "MagCacheConfig", "num_inference_steps": 4, "mag_ratios": [1.0, 1.0, 0.9, 0.9]}


def manifest(asked: Any, *, fields: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A model on a GPU lane that asks for `asked`, with more fields of input and other values of its recipe."""
    made = cast.manifest(lane=changes.pop("lane", "gpu"))
    made["endpoint"]["max_batch"] = changes.pop("max_batch", 1)
    made["recipe"] = {**FLUX, **changes, "accelerations": copy.deepcopy(asked)}
    made["endpoint"]["input"]["properties"].update(fields or {})
    return made


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"compile": True},
        {"compile": {"regional": False, "mode": "max-autotune", "dynamic": True}},
        {"cache": FBC, "compile": {"regional": True}},
        {"cache": {"config": "TextKVCacheConfig"}},
        {"attention_backend": "_native_cudnn"},
        {"quantization": {"quant_backend": "torchao", "quant_kwargs": {"quant_type": "float8dq"}}},
        {"layerwise_casting": {"storage_dtype": "float8_e4m3fn", "compute_dtype": "bfloat16"}},
        {"offload": {"kind": "model"}},
        {
            "offload": {
                "kind": "group",
                "offload_type": "leaf_level",
                "use_stream": True,
                "record_stream": True,
            }
        },
        {"channels_last": False, "vae_tiling": True, "vae_slicing": True},
    ],
    ids=str,
)
def test_what_goes_together_is_taken(asked):
    accelerations.check(manifest(asked))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("fast", "must be a table"),
        ({"turbo": True}, "turbo: unknown"),
        ({"compile": {"speed": 9}}, "compile.speed: unknown"),
        ({"compile": "yes"}, "compile: must be a table"),
        ({"compile": {"mode": "warp"}}, "compile.mode: must be one of"),
        ({"cache": {"config": "TeaCacheConfig"}}, "cache.config: must be one of"),
        ({"cache": {"config": ["FirstBlockCacheConfig"]}}, "cache.config: must be one of"),
        ({"cache": {**FBC, "rate": 1}}, "cache.rate: unknown"),
        ({"cache": {**FBC, "threshold": "low"}}, "cache.threshold: must be a number"),
        ({"cache": {**FBC, "threshold": float("nan")}}, "cache.threshold: must be a number"),
        ({"cache": {**FBC, "threshold": True}}, "cache.threshold: must be a number"),
        (
            {"cache": {"config": "PyramidAttentionBroadcastConfig", "current_timestep_callback": "print"}},
            "unknown",
        ),
        ({"attention_backend": "magic"}, "attention_backend: must be one of"),
        ({"attention_backend": 7}, "attention_backend: must be one of"),
        ({"attention_backend": "flash_hub"}, "engines ask no hub"),
        ({"quantization": {"quant_backend": "magic"}}, "quant_backend: must be one of"),
        ({"quantization": {"quant_kwargs": {}}}, "name its quant_backend"),
        (
            {
                "quantization": {
                    "quant_backend": "torchao",
                    "quant_kwargs": {"quant_type": "__import__('os')"},
                }
            },
            "torchao",
        ),
        ({"quantization": {"quant_backend": "quanto", "quant_kwargs": {"path": "/etc"}}}, "path: unknown"),
        ({"layerwise_casting": {"storage_dtype": "int1"}}, "storage_dtype: must be one of"),
        ({"offload": {"use_stream": True}}, "offload: name its kind"),
        ({"offload": {"kind": "group", "offload_to_disk_path": "/etc"}}, "offload_to_disk_path: unknown"),
        ({"channels_last": "yes"}, "channels_last: must be true or false"),
        ({"vae_tiling": 1}, "vae_tiling: must be true or false"),
    ],
    ids=str,
)
def test_what_nobody_knows_is_refused(asked, said):
    with pytest.raises(accelerations.Refused, match=r"recipe\.accelerations") as caught:
        accelerations.check(manifest(asked))
    assert said in str(caught.value)


STEPS = {"type": "integer", "minimum": 1, "maximum": 50, "default": 4}


@pytest.mark.parametrize(
    ("asked", "changes", "said"),
    [
        ({"cache": [FBC, MAG]}, {}, "one step cache at a time"),
        ({"cache": {"config": "TextKVCacheConfig"}}, {"pipeline": "StableDiffusionXLPipeline"}, "has a UNet"),
        ({"cache": FBC}, {"max_batch": 4}, "depend on its neighbours"),
        ({"cache": {"config": "MagCacheConfig"}}, {}, "needs the mag_ratios"),
        ({"cache": MAG}, {"fields": {"num_inference_steps": STEPS}}, "lets callers choose others"),
        ({"compile": {"fullgraph": True}, "cache": FBC}, {}, "a step cache has some"),
        ({"compile": {"fullgraph": True}, "offload": {"kind": "model"}}, {}, "offloading has some"),
        ({"compile": {"mode": "reduce-overhead"}, "cache": FBC}, {}, "CUDA graphs"),
        ({"compile": True, "offload": {"kind": "sequential"}}, {}, "sequential offloading"),
        ({"compile": True}, {"fields": {"loras": LORAS}}, "takes adapters"),
        (
            {"quantization": {"quant_backend": "quanto"}},
            {"fields": {"loras": LORAS}},
            "no adapter can be put on",
        ),
        (
            {
                "quantization": {"quant_backend": "quanto"},
                "layerwise_casting": {"storage_dtype": "float8_e5m2"},
            },
            {},
            "small already",
        ),
        ({"offload": {"kind": "model"}}, {"lane": "cpu"}, "no device to offload from"),
        (
            {"offload": {"kind": "group", "offload_type": "leaf_level"}},
            {"lane": "cpu-large"},
            "no device to offload from",
        ),
        ({"offload": {"kind": "model", "use_stream": True}}, {}, "has no settings"),
        ({"offload": {"kind": "group"}}, {}, "needs num_blocks_per_group"),
        (
            {"offload": {"kind": "group", "offload_type": "leaf_level", "record_stream": True}},
            {},
            "use_stream only",
        ),
        ({"attention_backend": "flash"}, {"dtype": "float32"}, "half precision only"),
        ({"vae_tiling": True}, {"family": "testcard"}, "only the family diffusers"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_with_the_reason(asked, changes, said):
    with pytest.raises(accelerations.Refused) as caught:
        accelerations.check(manifest(asked, **changes))
    assert said in str(caught.value)


def test_the_same_that_is_refused_is_taken_where_it_is_safe():
    accelerations.check(manifest({"cache": MAG}, fields={"num_inference_steps": {**STEPS, "enum": [4]}}))
    accelerations.check(manifest({"cache": MAG}, max_batch=8))
    accelerations.check(manifest({"quantization": {"quant_backend": "torchao"}}, fields={"loras": LORAS}))


@pytest.mark.django_db
def test_publishing_refuses_and_writes_nothing():
    with pytest.raises(catalog.InvalidManifest, match="depend on its neighbours"):
        catalog.publish(cast.publisher(), manifest({"cache": FBC}, max_batch=4))
    assert not cast.publisher().listings.exists()
    listing = catalog.publish(cast.publisher(), manifest({"cache": FBC}))
    assert listing.default_version is not None
    assert listing.default_version.recipe["accelerations"] == {"cache": FBC}


def test_the_names_are_those_of_the_library():
    """A table here, so that no web process needs torch; held to the library where that is at hand."""
    from workers.engine import machine

    machine.set_environment()
    import diffusers
    from diffusers.models.attention_dispatch import AttentionBackendName
    from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    from workers.engine.families.diffusers.accelerations import _PACKAGES

    for name, fields in accelerations.CACHES.items():
        known = {field.name for field in dataclasses.fields(getattr(diffusers, name))}
        assert set(fields) <= known, name
    theirs = {one.value for one in AttentionBackendName}
    assert {name for name in theirs if "_hub" not in name} == set(accelerations.ATTENTION_BACKENDS)
    assert set(_PACKAGES) == set(accelerations.QUANTIZATIONS) <= set(AUTO_QUANTIZATION_CONFIG_MAPPING)
    offload = inspect.signature(diffusers.DiffusionPipeline.enable_group_offload).parameters
    assert set(accelerations.OFFLOAD) - {"kind"} <= set(offload)
    casting = inspect.signature(diffusers.ModelMixin.enable_layerwise_casting).parameters
    assert set(accelerations.CASTING) <= set(casting)
    for name in _pipelines(diffusers):
        parts = inspect.signature(getattr(diffusers, name).__init__).parameters
        if "transformer" in parts or "unet" in parts:
            assert bool(accelerations.UNETS.match(name)) == ("unet" in parts), name


def _pipelines(diffusers: Any) -> list[str]:
    kinds = {name: getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Pipeline")}
    return [
        name
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)
    ]
