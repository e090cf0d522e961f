"""What learning rests on: gradients, averages and crops; and a training that goes on where another call left it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workers.training.daylight.autoencoder import AutoencoderPlan, load_codec, train_autoencoder
from workers.training.daylight.averaging import MovingAverage
from workers.training.daylight.crops import CROP, Crops
from workers.training.daylight.dataset import read_parts, write_dataset
from workers.training.daylight.denoiser import Plan, train_denoiser
from workers.training.daylight.gradients import Gradients
from workers.training.daylight.precision import pick_device

CPU = pick_device("cpu")


def test_gradients_are_of_the_last_call_alone():
    weight = torch.tensor([2.0, 3.0], requires_grad=True)
    gradients = Gradients(lambda x: (weight * x).square().sum(), [weight], CPU)
    for x in (torch.tensor([1.0, 1.0]), torch.tensor([1.0, 2.0])):
        loss = gradients(x)
        assert loss.item() == (weight * x).square().sum().item()
        assert not loss.requires_grad
        assert torch.equal(weight.grad, 2 * weight.detach() * x.square())


def test_the_average_trails_the_weights_and_gives_them_back():
    weight = torch.zeros(1, requires_grad=True)
    average = MovingAverage([weight], steps=100_000)
    weight.data.fill_(1.0)
    for step in range(40_000, 44_000):
        average.update(step)
    assert 0.60 < average.values[0].item() < 0.66  # one memory, a 25th of the training, leaves 1 - 1/e
    with average.applied():
        assert weight.item() < 0.7
    assert weight.item() == 1.0
    average.settle()
    assert weight.item() < 0.7


def test_crops_lie_in_range_and_favour_detail(tmp_path):
    write_dataset(tmp_path, counts={"square": 4}, processes=1, part=4)
    crops = Crops(read_parts(tmp_path), CPU)
    rng = np.random.default_rng(0)
    for _ in range(6):  # both sizes
        batch = crops.draw(8, rng)
        assert batch.shape == (8, 3, CROP, CROP)
        assert batch.abs().max() <= 1
    drawn = torch.cat([crops.draw(8, rng) for _ in range(8)])
    detail = drawn.diff(dim=3).abs().mean((1, 2, 3)).reshape(8, 8)
    assert detail[:, 2:].mean() > detail[:, :2].mean()


@pytest.mark.filterwarnings(r"ignore:[\s\S]*steps_offset:FutureWarning")
def test_training_goes_on_where_it_paused(tmp_path):
    data, vae, checkpoints = tmp_path / "data", tmp_path / "vae", tmp_path / "checkpoints"
    write_dataset(data, counts={"square": 2}, processes=1, part=2)
    train_autoencoder(data=data, target=vae, plan=AutoencoderPlan(steps=2, batch=2), device=CPU)
    polish = AutoencoderPlan(steps=2, batch=2, decoder_only=True)
    before = load_codec(vae)
    train_autoencoder(data=data, target=vae, plan=polish, device=CPU)
    after = load_codec(vae)
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    assert after.scale == before.scale
    with torch.no_grad():
        latents = before.encode(pictures)
        assert torch.equal(after.encode(pictures), latents)
        assert not torch.equal(after.decode(latents), before.decode(latents))
    paused = train_denoiser(
        data=data,
        vae=vae,
        checkpoints=checkpoints,
        plan=Plan(samples=6, batch=2, small_share=0.5, formats=("square",), pause=4),
        device=CPU,
    )
    assert paused.name == "0000004"
    assert torch.load(checkpoints / "state.pt", weights_only=True)["clock"]["step"] == 2
    done = train_denoiser(
        data=data,
        vae=vae,
        checkpoints=checkpoints,
        plan=Plan(samples=6, batch=2, small_share=0.5, formats=("square",)),
        device=CPU,
    )
    assert done.name == "final"
    assert torch.load(checkpoints / "state.pt", weights_only=True)["clock"]["step"] == 3
    assert (done / "words.json").exists()
