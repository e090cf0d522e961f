"""Adapters on real pipelines: what they change, that nothing of them stays, what is refused and why."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file

from tests.engine import loras
from tests.engine.conftest import Listener
from workers.engine import Adapter, Engine, Job, Recipe, recipe_key
from workers.engine.weights import SHIPPED

Make = Callable[..., Job]
DAYLIGHT: Recipe = {"family": "diffusers", "weights": str(SHIPPED / "daylight")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def unet(weights: Path) -> Any:
    return diffusers.UNet2DConditionModel.from_pretrained(weights / "sd" / "unet")


@pytest.fixture(scope="module")
def red(folder: Path, unet: Any) -> Adapter:
    return loras.save(folder / "red.safetensors", loras.tensors(unet, seed=1, targets=loras.EVERYWHERE))


@pytest.fixture(scope="module")
def blue(folder: Path, unet: Any) -> Adapter:
    return loras.save(folder / "blue.safetensors", loras.tensors(unet, seed=2), weight=0.5)


def picture(engine: Engine, job: Job, *worn: Adapter) -> bytes:
    [outcome] = engine.run([replace(job, adapters=worn)], Listener())
    assert outcome.status == "succeeded", outcome.error
    return outcome.outputs[0].data


def refusal(engine: Engine, job: Job, *worn: Adapter) -> str:
    [outcome] = engine.run([replace(job, adapters=worn)], Listener())
    assert outcome.error is not None
    assert outcome.error.code == "invalid_input"
    return outcome.error.sentence


def opened(engine: Engine, recipe: Recipe) -> Any:
    return engine.residents.holdings[recipe_key(recipe)].opened


def test_each_adapter_makes_another_picture_and_the_base_is_exactly_the_base_again(
    engine: Engine, job: Make, sd: Recipe, red: Adapter, blue: Adapter
) -> None:
    base = picture(engine, job())
    loads = engine.residents.loads
    with_red, with_blue, with_both = (picture(engine, job(), *worn) for worn in ([red], [blue], [red, blue]))
    assert len({base, with_red, with_blue, with_both}) == 4
    assert picture(engine, job()) == base
    assert picture(engine, job(), blue, red) == with_both
    assert picture(engine, job(), red) == with_red
    assert picture(engine, job(), replace(red, weight=0.4)) not in {base, with_red}
    assert picture(engine, job(), replace(red, weight=0.0)) == base
    assert picture(engine, job()) == base
    assert engine.residents.loads == loads
    assert set(opened(engine, sd)._adapters.kept) == {red.sha256, blue.sha256}


def test_only_those_with_the_same_adapters_share_a_batch(
    engine: Engine, job: Make, red: Adapter, blue: Adapter
) -> None:
    worn = {
        "a": (red,),
        "b": (red,),
        "c": (),
        "d": (),
        "e": (replace(red, weight=0.9),),
        "f": (blue, red),
        "g": (red, blue),
    }
    outcomes = engine.run([replace(job(name), adapters=those) for name, those in worn.items()], Listener())
    batches = {outcome.id: outcome.metrics.batch for outcome in outcomes if outcome.metrics}
    assert batches == {"a": 2, "b": 2, "c": 2, "d": 2, "e": 1, "f": 2, "g": 2}
    told = {outcome.id: list(outcome.metrics.adapters) for outcome in outcomes if outcome.metrics}
    assert told["c"] == []
    assert told["f"] == [
        {"name": "blue", "sha256": blue.sha256, "weight": 0.5},
        {"name": "red", "sha256": red.sha256, "weight": 1.0},
    ]


def test_a_refused_adapter_leaves_nothing_of_those_beside_it(
    weights: Path, job: Make, red: Adapter, folder: Path, unet: Any
) -> None:
    fresh = Engine(device="cpu", threads=1, weights_folder=weights)
    base = picture(fresh, job())
    bad = loras.save(folder / "bad.safetensors", _no_layer(loras.tensors(unet)))
    assert "bad" in refusal(fresh, job(), red, bad)
    assert picture(fresh, job()) == base


def test_what_one_calls_its_file_is_not_told_to_others_in_its_batch(
    weights: Path, job: Make, red: Adapter, folder: Path, unet: Any
) -> None:
    fresh, listener = Engine(device="cpu", threads=1, weights_folder=weights), Listener()
    bad = loras.save(folder / "bad.safetensors", _no_layer(loras.tensors(unet)))
    for one in (red, bad):
        mine, theirs = replace(one, name="a secret launch"), replace(one, name="other")
        jobs = [replace(job("mine"), adapters=(mine,)), replace(job("theirs"), adapters=(theirs,))]
        outcomes = fresh.run(jobs, listener)
        for outcome in outcomes:
            assert outcome.error is None or one.sha256[:12] in outcome.error.sentence
            assert "launch" not in str(outcome.error)
            assert outcome.metrics is None or outcome.metrics.batch == 2
    lines = [line for report in listener.reports for line in report.logs]
    assert any(red.sha256[:12] in line for line in lines)
    assert not any("launch" in line or "other" in line for line in lines)


def test_a_stopped_run_leaves_the_base_as_it_was(engine: Engine, job: Make, red: Adapter) -> None:
    base = picture(engine, job())
    [stopped] = engine.run([replace(job(), adapters=(red,))], Listener(one=2))
    assert stopped.status == "stopped"
    assert picture(engine, job()) == base


def test_loading_one_is_told_in_its_log_and_happens_once(
    engine: Engine, job: Make, folder: Path, unet: Any
) -> None:
    green = loras.save(folder / "green.safetensors", loras.tensors(unet, seed=3))
    first, second = Listener(), Listener()
    picture(engine, job())
    waited = []
    for listener in (first, second):
        [outcome] = engine.run([replace(job(), adapters=(green,))], listener)
        assert outcome.metrics is not None
        waited.append(outcome.metrics.load_s)
        told = outcome.metrics
        at_work_s = told.encode_s + told.steps_s + told.decode_s + told.file_s
        assert told.total_s == pytest.approx(at_work_s)  # which is paid for, and loading is not
    assert waited[0] > 0
    assert waited[1] == 0
    assert any("“green” loaded in" in line for report in first.reports for line in report.logs)
    assert not any("loaded" in line for report in second.reports for line in report.logs)


def test_those_unused_longest_make_room(
    engine: Engine,
    job: Make,
    sd: Recipe,
    red: Adapter,
    blue: Adapter,
    folder: Path,
    unet: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, with_red = picture(engine, job()), picture(engine, job(), red)
    picture(engine, job(), blue)
    kept = opened(engine, sd)._adapters
    monkeypatch.setattr(kept, "_room_bytes", kept.bytes)
    oldest = kept.kept[0]
    more = loras.save(folder / "more.safetensors", loras.tensors(unet, seed=4))
    picture(engine, job(), more)
    assert oldest not in kept.kept
    assert {blue.sha256, more.sha256} <= set(kept.kept)
    assert kept.bytes <= kept._room_bytes
    monkeypatch.setattr(kept, "_room_bytes", 1)
    picture(engine, job(), loras.save(folder / "last.safetensors", loras.tensors(unet, seed=5)))
    assert picture(engine, job(), red) == with_red  # what a run needs has room, whatever there is
    assert kept.kept == [red.sha256]
    assert picture(engine, job()) == base


def test_what_is_kept_beside_a_base_counts_and_goes_before_any_base_does(
    weights: Path, job: Make, sd: Recipe, red: Adapter, blue: Adapter
) -> None:
    flux: Recipe = {"family": "diffusers", "weights": "flux", "defaults": {"num_inference_steps": 1}}
    measured = Engine(device="cpu", threads=1, weights_folder=weights)
    size, other = measured.open(sd).bytes, measured.open(flux).bytes

    def held(engine: Engine) -> dict[str, int]:
        return {one.key: one.bytes for one in engine.loaded()}

    picture(measured, job(), red)
    reds = held(measured)[recipe_key(sd)] - size
    picture(measured, job(), blue)
    blues = held(measured)[recipe_key(sd)] - size - reds
    assert (reds, blues) == tuple(
        sum(4 * tensor.numel() for tensor in load_file(one.path).values()) for one in (red, blue)
    )

    budget = size + other + blues  # and so for both bases with one of the adapters
    assert reds < other
    engine = Engine(device="cpu", threads=1, weights_folder=weights, memory_budget_bytes=budget)
    engine.residents.learn = lambda *_: None  # what a run needs beyond that is another story
    picture(engine, job(), red)
    picture(engine, job(), blue)
    assert opened(engine, sd)._adapters.kept == [red.sha256, blue.sha256]
    engine.open(flux)
    assert held(engine).keys() == {recipe_key(sd), recipe_key(flux)}
    assert red.sha256 not in opened(engine, sd)._adapters.kept
    assert engine.residents.evictions == 0
    assert sum(held(engine).values()) <= budget


def test_an_adapter_that_has_no_room_beside_its_base_stays_for_its_run_alone(
    weights: Path, job: Make, sd: Recipe, red: Adapter
) -> None:
    size = Engine(device="cpu", threads=1, weights_folder=weights).open(sd).bytes
    engine = Engine(device="cpu", threads=1, weights_folder=weights, memory_budget_bytes=size)
    base = picture(engine, job())
    assert picture(engine, job(), red) != base
    assert [one.bytes for one in engine.loaded()] == [size]
    assert opened(engine, sd)._adapters.kept == []
    assert picture(engine, job()) == base


def test_a_file_in_half_precision_or_of_the_unet_alone_is_the_same_adapter(
    engine: Engine, job: Make, red: Adapter, folder: Path
) -> None:
    with_red = picture(engine, job(), red)
    whole = load_file(red.path)
    alone = {name.removeprefix("unet."): tensor for name, tensor in whole.items()}
    assert picture(engine, job(), loras.save(folder / "alone.safetensors", alone)) == with_red
    by_peft = {f"base_model.model.{name}": tensor for name, tensor in alone.items()}
    assert picture(engine, job(), loras.save(folder / "peft.safetensors", by_peft)) == with_red
    half = {name: tensor.half() for name, tensor in whole.items()}
    exact = {name: tensor.float() for name, tensor in half.items()}
    worn = [
        loras.save(folder / f"{name}.safetensors", made) for name, made in (("half", half), ("exact", exact))
    ]
    assert picture(engine, job(), worn[0]) == picture(engine, job(), worn[1])


def test_the_strength_in_the_metadata_counts_and_nothing_else_of_it(
    engine: Engine, job: Make, red: Adapter, folder: Path
) -> None:
    made = load_file(red.path)
    double = {name: 2 * tensor if ".lora_B." in name else tensor for name, tensor in made.items()}
    hostile = {
        "unet.r": 4,
        "unet.lora_alpha": 8,
        "unet.target_modules": "(a+)+$",
        "unet.init_lora_weights": "pissa",
    }
    told = loras.save(folder / "told.safetensors", made, metadata=hostile)
    assert picture(engine, job(), told) == picture(
        engine, job(), loras.save(folder / "double.safetensors", double)
    )
    pattern = {"unet.lora_alpha": 4, "unet.alpha_pattern": {"^(a+)+$": 1, "nowhere": 3}}
    same = loras.save(folder / "same.safetensors", made, metadata=pattern)
    assert picture(engine, job(), same) == picture(engine, job(), red)
    endless = loras.save(folder / "endless.safetensors", made, metadata={"unet.lora_alpha": 10**400})
    assert picture(engine, job(), endless) == picture(engine, job(), red)


def test_what_the_library_saves_it_reads_back_without_a_loss(
    engine: Engine, job: Make, weights: Path, folder: Path, red: Adapter
) -> None:
    """Convolutions and projections beside attention: the mixture of which loaders drop half when it is saved the way
    that example scripts have."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(weights / "sd")
    pipe.load_lora_weights(load_file(red.path), adapter_name="red")
    state = get_peft_model_state_dict(pipe.unet, adapter_name="red")
    pipe.save_lora_weights(folder / "saved", unet_lora_layers=state)
    saved = loras.adapter(folder / "saved" / "pytorch_lora_weights.safetensors")
    assert picture(engine, job(), saved) == picture(engine, job(), red)


def test_a_mixture_of_spellings_which_loses_tensors_is_refused(
    engine: Engine, job: Make, unet: Any, folder: Path
) -> None:
    from diffusers.utils import convert_state_dict_to_diffusers

    base = picture(engine, job())
    made = {
        name.removeprefix("unet."): t for name, t in loras.tensors(unet, targets=loras.EVERYWHERE).items()
    }
    mixed = {f"unet.{name}": tensor for name, tensor in convert_state_dict_to_diffusers(made).items()}
    assert any(".lora.down." in name for name in mixed)
    assert any(".lora_A." in name for name in mixed)
    said = refusal(engine, job(), loras.save(folder / "mixed.safetensors", mixed))
    assert "does not fit this model" in said
    assert picture(engine, job()) == base


def _other_model(made: loras.Tensors) -> loras.Tensors:
    return {
        name: torch.cat([tensor, tensor], 1 if "lora_A" in name else 0) if tensor.ndim == 2 else tensor
        for name, tensor in made.items()
    }


def _no_layer(made: loras.Tensors) -> loras.Tensors:
    return {name.replace("down_blocks.1", "down_blocks.7"): tensor for name, tensor in made.items()}


def _other_part(made: loras.Tensors) -> loras.Tensors:
    return {name.replace("unet.", "transformer."): tensor for name, tensor in made.items()}


def _control(made: loras.Tensors) -> loras.Tensors:
    return {**made, "lora_controlnet": torch.zeros(1)}


def _norms(made: loras.Tensors) -> loras.Tensors:
    return {**made, "unet.down_blocks.1.norm_q.weight": torch.zeros(8)}


def _lokr(made: loras.Tensors) -> loras.Tensors:
    return {f"{name.rsplit('.lora_', 1)[0]}.lokr_w1": tensor for name, tensor in made.items()}


def _dora(made: loras.Tensors) -> loras.Tensors:
    return {**made, "unet.mid_block.attentions.0.to_q.lora_magnitude_vector": torch.ones(8)}


def _broken_numbers(made: loras.Tensors) -> loras.Tensors:
    return {name: tensor * float("nan") for name, tensor in made.items()}


def _whole_numbers(made: loras.Tensors) -> loras.Tensors:
    return {name: tensor.to(torch.int8) for name, tensor in made.items()}


def _eight_bits(made: loras.Tensors) -> loras.Tensors:
    return {**made, "unet.mid_block.attentions.0.to_q.alpha": torch.ones(1).to(torch.float8_e4m3fn)}


def _half_missing(made: loras.Tensors) -> loras.Tensors:
    return {name: tensor for name, tensor in made.items() if "lora_A" in name or "to_q" in name}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_model, "inputs, and the file is for"),
        (_no_layer, "there is no layer “unet.down_blocks.7"),
        (_other_part, "does not fit"),
        (_control, "is no LoRA"),
        (_norms, "is no LoRA"),
        (_lokr, "is no LoRA"),
        (_dora, "is no LoRA"),
        (_broken_numbers, "are no numbers"),
        (_whole_numbers, "floats are taken"),
        (_eight_bits, "floats are taken"),
        (_half_missing, "does not fit"),
    ],
)
def test_what_is_made_for_another_model_or_is_no_lora_is_refused_with_the_reason(
    engine: Engine,
    job: Make,
    folder: Path,
    unet: Any,
    red: Adapter,
    spoil: Callable[[loras.Tensors], loras.Tensors],
    said: str,
) -> None:
    base, with_red = picture(engine, job()), picture(engine, job(), red)
    bad = loras.save(folder / f"{spoil.__name__}.safetensors", spoil(loras.tensors(unet)))
    sentence = refusal(engine, job(), bad)
    assert said in sentence
    assert spoil.__name__ in sentence
    refusal(engine, job(), red, bad)
    assert picture(engine, job()) == base
    assert picture(engine, job(), red) == with_red


def test_one_that_was_put_on_before_another_was_refused_is_taken_off(
    weights: Path, job: Make, folder: Path, unet: Any, red: Adapter
) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    base = picture(engine, job())
    bad = loras.save(folder / "bad.safetensors", _no_layer(loras.tensors(unet)))
    refusal(engine, job(), red, bad)
    assert picture(engine, job()) == base
    assert picture(engine, job(), red) != base


def test_bytes_that_are_no_safetensors_or_not_those_that_were_meant_are_refused(
    engine: Engine, job: Make, folder: Path, red: Adapter
) -> None:
    for name, data in (
        ("pickle", b"\x80\x04\x95"),
        ("cut", Path(red.path).read_bytes()[:-9]),
        ("long", struct.pack("<Q", 2**40)),
    ):
        path = folder / f"{name}.safetensors"
        path.write_bytes(data)
        assert "cannot be read as safetensors" in refusal(engine, job(), loras.adapter(path))
    other = replace(red, sha256="0" * 64)
    assert "is not the file that it was" in refusal(engine, job(), other)
    [gone] = engine.run(
        [replace(job(), adapters=(replace(red, sha256="1" * 64, path=str(folder / "gone")),))], Listener()
    )
    assert gone.error is not None
    assert gone.error.retryable


def test_families_and_pipelines_without_adapters_say_so(engine: Engine, job: Make, red: Adapter) -> None:
    pixart: Recipe = {"family": "diffusers", "weights": "pixart", "defaults": {"num_inference_steps": 2}}
    assert "takes no adapters" in refusal(engine, job(recipe=pixart), red)
    card: Recipe = {"family": "testcard", "weights": ""}
    assert "takes no adapters" in refusal(engine, Job("a", card, {"seed": 1}), red)


def test_the_shipped_model_wears_what_was_trained_on_it(folder: Path) -> None:
    engine = Engine(device="cpu", threads=1)
    asked = {"prompt": "a glossy teal vase", "seed": 1, "width": 128, "height": 128, "num_inference_steps": 4}
    job = Job("one", DAYLIGHT, asked)
    base = picture(engine, job)
    pipe = opened(engine, DAYLIGHT)._pipe
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    learnt = loras.save(
        folder / "learnt.safetensors", loras.trained(pipe.unet), metadata={"unet.r": 4, "unet.lora_alpha": 8}
    )
    assert picture(engine, job, learnt) != base
    assert picture(engine, job) == base
    after = {name.replace(".base_layer", ""): tensor for name, tensor in pipe.unet.state_dict().items()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_peft_makes_is_what_the_engine_puts_on(
    engine: Engine, job: Make, weights: Path, folder: Path
) -> None:
    """An alpha that is not the rank, saved by the library with its metadata, is as strong as the library makes it."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(weights / "sd")
    torch.manual_seed(9)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=loras.ATTENTION, init_lora_weights=False)
    pipe.unet.add_adapter(config, adapter_name="nine")
    pipe.unet.save_lora_adapter(folder / "nine", adapter_name="nine")
    saved = loras.adapter(folder / "nine" / "pytorch_lora_weights.safetensors")
    plain = diffusers.StableDiffusionPipeline.from_pretrained(weights / "sd")
    file = "pytorch_lora_weights.safetensors"
    plain.unet.load_lora_adapter(folder / "nine", weight_name=file, prefix=None, adapter_name="nine")
    theirs = next(m for n, m in plain.unet.named_modules() if n.endswith("to_q") and hasattr(m, "lora_B"))
    picture(engine, job(), saved)
    ours = engine.residents.holdings[recipe_key(job().recipe)].opened._pipe.unet  # type: ignore[attr-defined]
    mine = next(m for n, m in ours.named_modules() if n.endswith("to_q") and hasattr(m, "lora_B"))
    name = f"a{saved.sha256[:24]}"
    assert theirs.scaling["nine"] == 3.0
    expected = theirs.lora_B["nine"].weight * theirs.scaling["nine"]
    assert torch.allclose(mine.lora_B[name].weight * mine.scaling[name], expected, rtol=1e-6)
