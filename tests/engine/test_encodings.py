from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.conftest import Listener
from tests.engine.test_runs import pixels
from workers.engine import Engine, Job, Recipe
from workers.engine.families.diffusers.encodings import Encodings
from workers.engine.families.diffusers.pipeline import Pipeline

Make = Callable[..., Job]
FLUX: Recipe = {"family": "diffusers", "weights": "flux", "defaults": {"num_inference_steps": 3}}


def opened(engine: Engine) -> Pipeline:
    [holding] = engine.residents.holdings.values()
    assert isinstance(holding.opened, Pipeline)
    return holding.opened


@pytest.fixture
def fresh(weights: Path) -> Engine:
    return Engine(device="cpu", threads=1, weights_folder=weights)


@pytest.mark.parametrize("name", ["sd", "flux"])
def test_pictures_have_the_same_bytes_with_the_cache_as_without(
    fresh: Engine, job: Make, sd: Recipe, name: str
) -> None:
    recipe = sd if name == "sd" else FLUX
    fresh.open(recipe)
    pipeline = opened(fresh)
    cache, original = pipeline.encodings, type(pipeline._pipe).encode_prompt
    assert cache is not None
    pipeline._pipe.encode_prompt = original.__get__(pipeline._pipe)
    texts = ["a tall vase", "hills at dawn"]
    jobs = [job(str(n), recipe, prompt=text, seed=n) for n, text in enumerate(texts)]
    alone = [fresh.run([one], Listener())[0].outputs[0].data for one in jobs]
    together = [outcome.outputs[0].data for outcome in fresh.run(jobs, Listener())]
    pipeline._pipe.encode_prompt = cache
    assert [outcome.outputs[0].data for outcome in fresh.run(jobs, Listener())] == together
    assert (cache.hits, cache.misses) == (0, 2)
    for _ in range(2):  # what the batch has left behind is not for one alone, and then it is its own
        assert [fresh.run([one], Listener())[0].outputs[0].data for one in jobs] == alone
    assert (cache.hits, cache.misses) == (2, 4)
    again = fresh.run(jobs, Listener())
    assert (cache.hits, cache.misses) == (4, 4)
    for outcome, data in zip(again, alone, strict=True):
        assert outcome.metrics is not None
        number = int(outcome.id)
        [reference] = fresh.run([job("x", recipe, prompt=texts[number], seed=number)], Listener())
        assert reference.outputs[0].data == data
        assert np.abs(pixels(outcome) - pixels(reference)).max() <= 1


def test_only_what_is_missing_is_encoded(fresh: Engine, job: Make, sd: Recipe) -> None:
    fresh.open(sd)
    pipeline, seen = opened(fresh), []
    cache = pipeline.encodings
    assert cache is not None
    encode = cache._encode
    cache._encode = lambda **given: seen.append(list(given["prompt"])) or encode(**given)
    fresh.run([job("1", prompt="a vase"), job("2", prompt="hills")], Listener())
    fresh.run([job("1", prompt="hills"), job("2", prompt="dawn"), job("3", prompt="a vase")], Listener())
    fresh.run([job("1", prompt="a vase", negative_prompt="hills")], Listener())
    fresh.run([job("1", prompt="a vase", negative_prompt="dawn")], Listener())
    assert seen == [["a vase", "hills"], ["dawn"], ["a vase"], ["a vase"]]


def test_the_least_recently_used_texts_go_beyond_the_budget(fresh: Engine, job: Make, sd: Recipe) -> None:
    fresh.open(sd)
    cache = opened(fresh).encodings
    assert cache is not None
    fresh.run([job(prompt="a")], Listener())
    one = cache.bytes
    assert one > 0
    cache._budget_bytes = 2 * one
    for prompt in ("b", "a", "c", "a"):
        fresh.run([job(prompt=prompt)], Listener())
    assert cache.bytes == 2 * one
    assert (cache.hits, cache.misses) == (2, 3)
    cache.clear()
    assert cache.bytes == 0


def test_an_adapter_on_the_text_encoder_has_encodings_of_its_own(fresh: Engine, sd: Recipe) -> None:
    from peft import LoraConfig

    fresh.open(sd)
    pipe, cache = opened(fresh)._pipe, opened(fresh).encodings
    assert cache is not None

    def encoded() -> torch.Tensor:
        with torch.no_grad():
            return pipe.encode_prompt(["a tall vase"], torch.device("cpu"), 1, False)[0]  # type: ignore[no-any-return]

    plain = encoded()
    pipe.text_encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False), "one")
    changed = encoded()
    assert not torch.equal(changed, plain)
    pipe.text_encoder.disable_adapters()
    assert torch.equal(encoded(), plain)
    pipe.text_encoder.enable_adapters()
    assert torch.equal(encoded(), changed)


def test_what_cannot_be_taken_apart_goes_through(sd: Recipe) -> None:
    class Odd:
        components: dict[str, object] = {}
        calls = 0

        def encode_prompt(self, prompt, image=None, prompt_embeds=None):  # type: ignore[no-untyped-def]
            self.calls += 1
            return [len(one) for one in prompt]

    odd = Odd()
    cache = Encodings.install(odd)
    assert cache is not None
    assert odd.encode_prompt(["a", "bc"]) == odd.encode_prompt(["a", "bc"]) == [1, 2]
    assert odd.encode_prompt(["a"], image=object()) == [1]
    assert odd.calls == 3
    assert cache.bytes == 0
    assert Encodings.install(object()) is None
