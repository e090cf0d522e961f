"""An adapter on the shipped model through the whole product: uploaded, put on, told on the receipt, taken off again."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import PROJECT, Stack
from tests.stack.api import Api

UNET = PROJECT / "workers" / "weights" / "daylight" / "unet" / "diffusion_pytorch_model.safetensors"
KIND = "application/x-safetensors"


@pytest.fixture(scope="module")
def api(stack: Stack) -> Api:
    return Api(stack.url, stack.key)


def lora(path: Path = UNET, *, wider: int = 0) -> bytes:
    """A LoRA of rank 2 on the attention of a model, of random numbers, written without torch. `wider` spoils it."""
    from safetensors.numpy import save

    with path.open("rb") as file:
        described = json.loads(file.read(*struct.unpack("<Q", file.read(8))))
    dice, made = np.random.default_rng(1), {}
    for name, one in described.items():
        if name.endswith((".to_q.weight", ".to_v.weight")):
            path_of = f"unet.{name.removesuffix('.weight')}"
            out, into = one["shape"]
            made[f"{path_of}.lora_A.weight"] = dice.normal(0, 0.4, (2, into + wider)).astype(np.float16)
            made[f"{path_of}.lora_B.weight"] = dice.normal(0, 0.4, (out, 2)).astype(np.float16)
    return save(made)


def upload(api: Api, data: bytes, name: str) -> dict[str, object]:
    answer = api.http.post("/assets", content=data, headers={"X-Filename": name})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def picture(found: dict) -> str:
    assert found["status"] == "succeeded", found["error"]
    return str(found["output"]["images"][0]["sha256"])


def test_an_adapter_is_put_on_for_its_run_and_off_after_it(api: Api) -> None:
    data = lora()
    asset = upload(api, data, "glaze.safetensors")
    assert (asset["content_type"], asset["sha256"]) == (KIND, hashlib.sha256(data).hexdigest())
    asked = {"seed": 5, "num_inference_steps": 4}
    base = picture(api.run(**asked))
    worn = api.run(**asked, adapters=[{"file": asset["id"], "weight": 0.8}])
    assert picture(worn) != base
    told = {"name": "glaze.safetensors", "sha256": asset["sha256"], "weight": 0.8}
    assert worn["metrics"]["adapters"] == [told]
    assert picture(api.run(**asked)) == base
    assert picture(api.run(**asked, adapters=[{"file": asset["id"], "weight": 0}])) == base


def test_what_does_not_fit_fails_with_the_reason_and_costs_nothing(api: Api) -> None:
    before = api.balance()["available_micros"]
    asset = upload(api, lora(wider=8), "other.safetensors")
    found = api.run(adapters=[{"file": asset["id"]}])
    assert (found["status"], found["error"]["code"]) == ("failed", "invalid_input")
    assert "other.safetensors” does not fit this model" in found["error"]["message"]
    assert found["cost_micros"] == 0
    assert api.balance()["available_micros"] == before
