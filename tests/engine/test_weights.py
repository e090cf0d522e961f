from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.engine.conftest import Listener
from workers.engine import Engine, EngineError, Job, Recipe, weights

Make = Callable[..., Job]
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights / "sd", tmp_path / "copy"))


def refusal(folder: Path, **extra: object) -> EngineError:
    recipe: Recipe = {"family": "diffusers", "weights": str(folder), **extra}  # type: ignore[typeddict-item]
    with pytest.raises(EngineError) as caught:
        Engine(device="cpu", threads=1).open(recipe)
    assert caught.value.code == "bad_weights"
    assert not caught.value.retryable
    return caught.value


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_pickle_is_refused_even_beside_good_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    assert "unet/diffusion_pytorch_model.bin is refused" in refusal(folder).sentence


def test_a_pickle_instead_of_the_weights_is_refused(folder: Path) -> None:
    (folder / UNET).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    assert "safetensors" in refusal(folder).sentence


def test_a_pickle_under_a_good_name_is_no_safetensors(folder: Path) -> None:
    (folder / UNET).write_bytes(pickle.dumps(dict.fromkeys(range(50))))
    assert "damaged" in refusal(folder).sentence


def test_a_cut_off_file_is_damaged(folder: Path) -> None:
    whole = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(whole[: len(whole) // 2])
    assert "unet/diffusion_pytorch_model.safetensors is damaged" in refusal(folder).sentence


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {"dtype": "F32", "shape": [1]},
        {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4]},
    ],
)
def test_a_header_that_is_none_is_damaged(folder: Path, entry: object) -> None:
    header = json.dumps({"x": entry}).encode()
    (folder / UNET).write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert "unet/diffusion_pytorch_model.safetensors is damaged" in refusal(folder).sentence


def test_a_part_without_its_weights_is_named(folder: Path) -> None:
    (folder / UNET).unlink()
    assert "“unet” has no weights" in refusal(folder).sentence


def test_a_disk_that_cannot_be_read_is_said_to_be_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **named: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(weights, "_check_file", failing)
    assert "cannot be read on this machine (Input/output error)" in refusal(folder).sentence


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / UNET).rename(tmp_path / "elsewhere")
    (folder / UNET).symlink_to(tmp_path / "elsewhere")
    assert "points out of the weights folder" in refusal(folder).sentence


def test_missing_tensors_are_not_filled_with_noise(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    tensors.pop("conv_out.weight")
    save_file(tensors, folder / UNET)
    refusal(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit(folder / "unet" / "config.json", block_out_channels=[24, 48])
    assert "could not be opened" in refusal(folder).sentence


def test_missing_files_are_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    assert "vae" in refusal(folder).sentence
    (folder / "model_index.json").unlink()
    assert "model_index.json is missing" in refusal(folder).sentence


def test_code_is_refused(folder: Path) -> None:
    (folder / "pipeline.py").write_text("raise SystemExit")
    assert "pipeline.py is refused" in refusal(folder).sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": ["pipeline", "Mine"]},
        {"_class_name": "os"},
        {"_class_name": "NoSuchPipeline"},
        {"unet": ["mine", "Model"]},
        {"unet": ["diffusers", "NoSuchModel"]},
        {"unet": ["os", "system"]},
        {"unet": ["diffusers", 3]},
    ],
)
def test_only_classes_of_the_libraries_are_opened(folder: Path, changes: dict[str, object]) -> None:
    edit(folder / "model_index.json", **changes)
    refusal(folder)


def test_remote_code_is_refused(folder: Path) -> None:
    edit(folder / "text_encoder" / "config.json", auto_map={"AutoModel": "mine.Model"})
    assert "auto_map" in refusal(folder).sentence


def test_a_file_is_read_for_its_hash_once_until_it_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    really = hashlib.file_digest

    def counting(stream: Any, name: str) -> Any:
        read.append(Path(stream.name).name)
        return really(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    file = folder / UNET
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    for _ in range(3):
        assert "on this machine" in refusal(folder, hashes={UNET: "0" * 64}).sentence
    assert read == [file.name]
    good: Recipe = {"family": "diffusers", "weights": folder.name, "hashes": {UNET: right}}
    weights.check(good, folder)
    assert read == [file.name]
    # One bit of it is another one now, and its length and the moment of its change are made to say that it is not.
    told, data = file.stat(), bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    for _ in range(2):
        assert "not the one" in refusal(folder, hashes={UNET: right}).sentence
    assert read == [file.name] * 2
    data[-1] ^= 1
    file.write_bytes(data)
    weights.check(good, folder)
    assert len(read) == 3


def test_hashes_are_held(folder: Path) -> None:
    assert "not the one" in refusal(folder, hashes={UNET: "0" * 64}).sentence
    assert "missing" in refusal(folder, hashes={"../copy/none": "0" * 64}).sentence


def test_the_class_that_the_recipe_names_must_be_the_one_in_the_folder(folder: Path) -> None:
    assert "FluxPipeline" in refusal(folder, pipeline="FluxPipeline").sentence


@pytest.mark.parametrize("name", ["../secret", "", ".hidden", "a/../../b", "no-such-weights"])
def test_names_stay_inside_the_weights_folder(weights: Path, name: str) -> None:
    with pytest.raises(EngineError):
        Engine(device="cpu", threads=1, weights_folder=weights).open({"family": "diffusers", "weights": name})


def test_unknown_families_schedulers_and_precisions_are_named(weights: Path) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    for recipe, says in [
        ({"family": "nope", "weights": "sd"}, "diffusers"),
        ({"family": "diffusers", "weights": "sd", "scheduler": {"class": "Path"}}, "Path"),
        ({"family": "diffusers", "weights": "sd", "dtype": "int3"}, "int3"),
    ]:
        with pytest.raises(EngineError) as caught:
            engine.open(recipe)  # type: ignore[arg-type]
        assert says in caught.value.sentence


def test_jobs_with_bad_weights_fail_and_others_run(weights: Path, folder: Path, job: Make) -> None:
    (folder / "x.pt").write_bytes(b"")
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    bad, good = engine.run(
        [job("bad", {"family": "diffusers", "weights": str(folder)}), job("good")], Listener()
    )
    assert (bad.status, good.status) == ("failed", "succeeded")


def test_a_scheduler_can_be_chosen(weights: Path, job: Make) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    recipe: Recipe = {
        "family": "diffusers",
        "weights": "sd",
        "scheduler": {
            "class": "EulerDiscreteScheduler",
            "prediction_type": "epsilon",
            "use_flow_sigmas": False,
        },
    }
    listener = Listener()
    [outcome] = engine.run([job(recipe=recipe, num_inference_steps=8)], listener)
    assert outcome.status == "succeeded", outcome.error
    assert sum(1 for report in listener.of("one") if report.preview) >= 5
