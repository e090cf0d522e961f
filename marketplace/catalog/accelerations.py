"""What a recipe may ask for to run faster or in less memory, by names of diffusers and torch, judged without either.

Unknown names and wrong types are refused when a version is published, and so is what does not go together, with the
reason. What the machine that runs it lacks is found there, when it opens the version.

    [recipe.accelerations]
    compile = { regional = true, mode = "default" }
    cache = { config = "FirstBlockCacheConfig", threshold = 0.08 }
    attention_backend = "_native_cudnn"
    quantization = { quant_backend = "torchao", quant_kwargs = { quant_type = "float8dq" } }
    layerwise_casting = { storage_dtype = "float8_e4m3fn", compute_dtype = "bfloat16" }
    offload = { kind = "group", offload_type = "leaf_level", use_stream = true }
    channels_last = true
    vae_tiling = true
    vae_slicing = true
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marketplace import schema

Asked = Mapping[str, Any]
Test = tuple[str, Callable[[Any], bool]]

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,60}").fullmatch

_FLAG: Test = ("true or false", lambda value: isinstance(value, bool))
_COUNT: Test = ("a whole number", lambda value: type(value) is int and 0 <= value < 10_000)
_NUMBER: Test = ("a number", lambda value: type(value) in {int, float} and abs(value) < 10_000)
_NUMBERS: Test = (
    "a list of numbers",
    lambda value: (
        isinstance(value, list) and 0 < len(value) <= 1000 and all(_NUMBER[1](one) for one in value)
    ),
)
_SPAN: Test = (
    "two timesteps",
    lambda value: isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value),
)
_NAMES: Test = (
    "a list of components",
    lambda value: (
        isinstance(value, list) and 0 < len(value) < 20 and all(isinstance(one, str) for one in value)
    ),
)


def _one_of(*names: str) -> Test:
    return f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names


_DTYPE = _one_of("bfloat16", "float16", "float32")

COMPILE: Mapping[str, Test] = {
    "regional": _FLAG,
    "fullgraph": _FLAG,
    "dynamic": _FLAG,
    "mode": _one_of("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    "backend": _one_of("inductor", "cudagraphs", "aot_eager", "eager"),
}
CACHES: Mapping[str, Mapping[str, Test]] = {
    "FirstBlockCacheConfig": {"threshold": _NUMBER},
    "SeaCacheConfig": {
        "threshold": _NUMBER,
        "residual_order": _COUNT,
        "retention_steps": _COUNT,
        "cache_end_steps": _COUNT,
        "max_consecutive_cached": _COUNT,
        "power_exp": _NUMBER,
    },
    "TaylorSeerCacheConfig": {
        "cache_interval": _COUNT,
        "disable_cache_before_step": _COUNT,
        "disable_cache_after_step": _COUNT,
        "max_order": _COUNT,
        "use_lite_mode": _FLAG,
    },
    "MagCacheConfig": {
        "threshold": _NUMBER,
        "max_skip_steps": _COUNT,
        "retention_ratio": _NUMBER,
        "num_inference_steps": _COUNT,
        "mag_ratios": _NUMBERS,
    },
    "FasterCacheConfig": {
        "spatial_attention_block_skip_range": _COUNT,
        "temporal_attention_block_skip_range": _COUNT,
        "spatial_attention_timestep_skip_range": _SPAN,
        "temporal_attention_timestep_skip_range": _SPAN,
        "low_frequency_weight_update_timestep_range": _SPAN,
        "high_frequency_weight_update_timestep_range": _SPAN,
        "alpha_low_frequency": _NUMBER,
        "alpha_high_frequency": _NUMBER,
        "unconditional_batch_skip_range": _COUNT,
        "unconditional_batch_timestep_skip_range": _SPAN,
        "tensor_format": _one_of("BCFHW", "BFCHW", "BCHW"),
        "is_guidance_distilled": _FLAG,
    },
    "PyramidAttentionBroadcastConfig": {
        "spatial_attention_block_skip_range": _COUNT,
        "temporal_attention_block_skip_range": _COUNT,
        "cross_attention_block_skip_range": _COUNT,
        "spatial_attention_timestep_skip_range": _SPAN,
        "temporal_attention_timestep_skip_range": _SPAN,
        "cross_attention_timestep_skip_range": _SPAN,
    },
    "TextKVCacheConfig": {},
}
# What these skip depends on the numbers of the whole batch, so a picture would depend on its neighbours.
CACHES_OF_A_BATCH = {"FirstBlockCacheConfig", "SeaCacheConfig"}
ATTENTION_BACKENDS = (
    *(
        "native",
        "flex",
        "flash",
        "flash_varlen",
        "_flash_3",
        "_flash_varlen_3",
        "sage",
        "sage_varlen",
        "xformers",
    ),
    *("_native_cudnn", "_native_efficient", "_native_flash", "_native_math", "_native_npu", "_native_xla"),
    *("_sage_qk_int8_pv_fp8_cuda", "_sage_qk_int8_pv_fp8_cuda_sm90", "_sage_qk_int8_pv_fp16_cuda"),
    "_sage_qk_int8_pv_fp16_triton",
)
_HALF_ONLY = ("flash", "_flash", "sage", "_sage", "_native_flash", "_native_cudnn")
QUANTIZATIONS: Mapping[str, Mapping[str, Test]] = {
    "bitsandbytes_4bit": {
        "load_in_4bit": _FLAG,
        "bnb_4bit_quant_type": _one_of("nf4", "fp4"),
        "bnb_4bit_use_double_quant": _FLAG,
        "bnb_4bit_compute_dtype": _DTYPE,
    },
    "bitsandbytes_8bit": {"load_in_8bit": _FLAG, "llm_int8_threshold": _NUMBER},
    "gguf": {"compute_dtype": _DTYPE},
    "modelopt": {"quant_type": _one_of("FP8", "INT8", "INT4", "NF4", "NVFP4")},
    "quanto": {"weights_dtype": _one_of("float8", "int8", "int4", "int2")},
    "torchao": {
        "quant_type": ("a name of torchao", lambda value: isinstance(value, str) and bool(_WORD(value)))
    },
}
# What peft can put an adapter on.
_QUANTIZED_WITH_ADAPTERS = {"bitsandbytes_4bit", "bitsandbytes_8bit", "torchao"}
QUANTIZATION: Mapping[str, Test] = {
    "quant_backend": _one_of(*QUANTIZATIONS),
    "quant_kwargs": ("a table", lambda value: isinstance(value, Mapping)),
    "components_to_quantize": _NAMES,
}
CASTING: Mapping[str, Test] = {
    "storage_dtype": _one_of("float8_e4m3fn", "float8_e5m2"),
    "compute_dtype": _DTYPE,
}
OFFLOAD: Mapping[str, Test] = {
    "kind": _one_of("model", "sequential", "group"),
    "offload_type": _one_of("block_level", "leaf_level"),
    "num_blocks_per_group": _COUNT,
    "non_blocking": _FLAG,
    "use_stream": _FLAG,
    "record_stream": _FLAG,
    "low_cpu_mem_usage": _FLAG,
}
FLAGS = ("channels_last", "vae_tiling", "vae_slicing")
TABLES: Mapping[str, Mapping[str, Test]] = {
    "compile": COMPILE,
    "layerwise_casting": CASTING,
    "offload": OFFLOAD,
    "quantization": QUANTIZATION,
}
# Whose denoiser is a UNet, by the beginnings of their names; a test holds them to the library.
UNETS = re.compile(
    r"(?!StableDiffusion3|Kandinsky[56])(AltDiffusion|AnimateDiff|AudioDiffusion|AudioLDM|BlipDiffusion|ConsistencyModel"
    r"|CycleDiffusion|DDIM|DDPM|DanceDiffusion|DreamLite|I2VGenXL|IF[A-Z]|Kandinsky|KarrasVe|Kolors|LDM"
    r"|LatentConsistency|Marigold|MusicLDM|OnnxStableDiffusion|PIA|PNDM|PaintByExample|RePaint|ScoreSdeVe|Semantic"
    r"|StableDiffusion|StableUnCLIP|StableVideo|TextToVideo|UniDiffuser|VideoToVideoSD)"
)


class Refused(ValueError):
    """The accelerations cannot be published; the message names the place and the reason."""


def check(manifest: Mapping[str, Any]) -> None:
    """Refuse accelerations that nobody knows, or that would break or change what the endpoint promises."""
    recipe = manifest["recipe"]
    asked = recipe.get("accelerations")
    if asked is None:
        return
    if not isinstance(asked, Mapping):
        raise Refused("recipe.accelerations: must be a table")
    if recipe.get("family") != "diffusers":
        raise Refused("recipe.accelerations: only the family diffusers has some")
    _check_names(asked)
    for reason in _unsafe(asked, manifest):
        raise Refused(f"recipe.accelerations.{reason}")


def _check_names(asked: Asked) -> None:
    known = {*TABLES, *FLAGS, "cache", "attention_backend"}
    _refuse_unknown("", asked, known)
    for name in FLAGS:
        _check_value(name, asked.get(name), _FLAG)
    for name, tests in TABLES.items():
        wanted = asked.get(name)
        if wanted is not None and not (name == "compile" and wanted is True):
            _check_table(name, wanted, tests)
    if "cache" in asked:
        _check_cache(asked["cache"])
    if "attention_backend" in asked:
        _check_attention(asked["attention_backend"])
    wanted = asked.get("quantization")
    if wanted is not None:
        if "quant_backend" not in wanted:
            raise Refused("recipe.accelerations.quantization: name its quant_backend")
        tests = QUANTIZATIONS[wanted["quant_backend"]]
        _check_table("quantization.quant_kwargs", wanted.get("quant_kwargs", {}), tests)
    if "offload" in asked and "kind" not in asked["offload"]:
        raise Refused("recipe.accelerations.offload: name its kind")


def _check_cache(wanted: Any) -> None:
    if isinstance(wanted, list):
        raise Refused("recipe.accelerations.cache: a model has one step cache at a time")
    name = wanted.get("config") if isinstance(wanted, Mapping) else None
    if not isinstance(name, str) or name not in CACHES:
        raise Refused(f"recipe.accelerations.cache.config: must be one of {', '.join(CACHES)}")
    _check_table("cache", {key: value for key, value in wanted.items() if key != "config"}, CACHES[name])


def _check_attention(wanted: Any) -> None:
    if isinstance(wanted, str) and "_hub" in wanted:
        raise Refused(
            f"recipe.accelerations.attention_backend: {wanted[:40]} downloads its kernels when it is first used, and "
            "engines ask no hub"
        )
    _check_value("attention_backend", wanted, _one_of(*ATTENTION_BACKENDS))


def _check_table(place: str, wanted: Any, tests: Mapping[str, Test]) -> None:
    if not isinstance(wanted, Mapping):
        raise Refused(f"recipe.accelerations.{place}: must be a table")
    _refuse_unknown(f"{place}.", wanted, set(tests))
    for name, value in wanted.items():
        _check_value(f"{place}.{name}", value, tests[name])


def _refuse_unknown(place: str, wanted: Asked, known: set[str]) -> None:
    for name in wanted:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "nothing"
            raise Refused(f"recipe.accelerations.{place}{str(name)[:60]}: unknown; there are {allowed}")


def _check_value(place: str, value: Any, test: Test) -> None:
    if value is not None and not test[1](value):
        raise Refused(f"recipe.accelerations.{place}: must be {test[0]}")


def _unsafe(asked: Asked, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Why what is asked for does not go together, or with the endpoint that it is for."""
    yield from _unsafe_cache(asked.get("cache") or {}, manifest)
    yield from _unsafe_offload(asked.get("offload") or {}, manifest)
    yield from _unsafe_compile(asked, manifest)
    quantization = asked.get("quantization") or {}
    if quantization and asked.get("layerwise_casting"):
        yield "layerwise_casting: quantized weights are small already, and cannot be cast"
    backend = quantization.get("quant_backend")
    if backend and backend not in _QUANTIZED_WITH_ADAPTERS and _takes_adapters(manifest):
        yield f"quantization: no adapter can be put on weights of {backend}, and the endpoint takes some"
    attention = str(asked.get("attention_backend") or "")
    if attention.startswith(_HALF_ONLY) and manifest["recipe"].get("dtype") == "float32":
        yield f"attention_backend: {attention} computes in half precision only, and the dtype is float32"


def _unsafe_cache(cache: Asked, manifest: Mapping[str, Any]) -> Iterator[str]:
    name = cache.get("config")
    if not name:
        return
    pipeline, endpoint = str(manifest["recipe"].get("pipeline", "")), manifest["endpoint"]
    if UNETS.match(pipeline):
        yield f"cache: {pipeline} has a UNet, and step caches are for transformers"
    if name in CACHES_OF_A_BATCH and endpoint.get("max_batch", 1) > 1:
        yield (
            f"cache: {name} skips by what the whole batch looks like, so a picture would depend on its neighbours; "
            "set max_batch to 1, or take another cache"
        )
    if name == "MagCacheConfig":
        steps = cache.get("num_inference_steps")
        if not cache.get("mag_ratios") or steps is None:
            yield "cache: MagCacheConfig needs the mag_ratios of the model and their num_inference_steps"
        field = endpoint["input"].get("properties", {}).get("num_inference_steps")
        if field is not None and [steps] != field.get("enum", [field.get("const")]):
            yield f"cache: MagCacheConfig counts {steps} steps, and the endpoint lets callers choose others"


def _unsafe_offload(offload: Asked, manifest: Mapping[str, Any]) -> Iterator[str]:
    kind = offload.get("kind")
    if kind and str(manifest.get("lane", "")).partition("-")[0] == "cpu":
        yield "offload: on the lane of processors there is no device to offload from"
    if kind in {"model", "sequential"} and len(offload) > 1:
        yield f"offload: {kind} offloading has no settings; those are of group"
    if kind == "group":
        is_blocks = offload.get("offload_type", "block_level") == "block_level"
        if is_blocks and not offload.get("num_blocks_per_group"):
            yield "offload: block_level needs num_blocks_per_group"
        for name in ("record_stream", "low_cpu_mem_usage"):
            if offload.get(name) and not offload.get("use_stream"):
                yield f"offload: {name} works with use_stream only"


def _unsafe_compile(asked: Asked, manifest: Mapping[str, Any]) -> Iterator[str]:
    wanted = asked.get("compile")
    if not wanted:
        return
    options = wanted if isinstance(wanted, Mapping) else {}
    offload = (asked.get("offload") or {}).get("kind")
    if _takes_adapters(manifest):
        yield "compile: each adapter would be compiled anew, which takes minutes, and the endpoint takes adapters"
    if offload == "sequential":
        yield "compile: sequential offloading replaces the weights under the compiled code"
    if options.get("fullgraph") and (asked.get("cache") or offload):
        what = "a step cache" if asked.get("cache") else "offloading"
        yield f"compile: fullgraph takes code without branches, and {what} has some"
    if asked.get("cache") and options.get("mode") in {"reduce-overhead", "max-autotune"}:
        yield "compile: CUDA graphs write over what a step cache keeps; take the mode max-autotune-no-cudagraphs"


def _takes_adapters(manifest: Mapping[str, Any]) -> bool:
    return schema.adapter_field(manifest["endpoint"]["input"]) is not None
