"""The renderer: deterministic, any format, and every word changes the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workers.training.daylight.ceramics import (
    FINISHES,
    GLAZES,
    PLINTHS,
    VESSELS,
    WALLS,
    Ceramic,
    choose_ceramic,
)
from workers.training.daylight.dataset import draw, paint, read_parts, write_dataset
from workers.training.daylight.landscapes import SCENES, TIMES, Landscape, choose_landscape

CERAMIC = Ceramic(vessel="vase", glaze="teal", finish="matte", plinth="white", wall="ivory", light="left")
LANDSCAPE = Landscape(scene="hills", time="dusk", mist="clear", disc="sun", place="left")
CHANGES = [
    *(replace(CERAMIC, vessel=value) for value in VESSELS if value != CERAMIC.vessel),
    *(replace(CERAMIC, glaze=value) for value in GLAZES if value != CERAMIC.glaze),
    *(replace(CERAMIC, finish=value) for value in FINISHES if value != CERAMIC.finish),
    *(replace(CERAMIC, plinth=value) for value in PLINTHS if value != CERAMIC.plinth),
    *(replace(CERAMIC, wall=value) for value in WALLS if value != CERAMIC.wall),
    replace(CERAMIC, light="right"),
    *(replace(LANDSCAPE, scene=value) for value in SCENES if value != LANDSCAPE.scene),
    *(replace(LANDSCAPE, time=value) for value in TIMES if value != LANDSCAPE.time),
    replace(LANDSCAPE, mist="misty"),
    replace(LANDSCAPE, disc="moon"),
    replace(LANDSCAPE, place="right"),
]


@pytest.mark.parametrize("subject", CHANGES, ids=lambda subject: "-".join(vars(subject).values()))
def test_every_word_changes_the_picture(subject):
    before = CERAMIC if isinstance(subject, Ceramic) else LANDSCAPE
    first = paint(before, np.random.default_rng(1), width=64, height=64)
    second = paint(subject, np.random.default_rng(1), width=64, height=64)
    assert np.abs(first.astype(int) - second).mean() > 0.15


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (64, 96), (192, 192)])
@pytest.mark.parametrize("subject", [CERAMIC, LANDSCAPE])
def test_any_format(subject, width, height):
    picture = paint(subject, np.random.default_rng(0), width=width, height=height)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


def test_same_seed_same_picture():
    first, subjects = draw(4, seed=3)
    second, again = draw(4, seed=3)
    assert subjects == again
    assert np.array_equal(first, second)


def test_light_comes_from_where_it_is_said_to():
    for side, brighter in (("left", np.s_[:, :40]), ("right", np.s_[:, -40:])):
        picture = paint(replace(CERAMIC, light=side), np.random.default_rng(2))[:80]
        assert picture[brighter].mean() > picture.mean()


@pytest.mark.parametrize("choose", [choose_ceramic, choose_landscape])
def test_held_out_combinations_are_never_chosen_for_training(choose):
    rng = np.random.default_rng(0)
    assert not any(choose(rng).held_out for _ in range(300))
    assert all(choose(rng, held_out=True).held_out for _ in range(20))


def test_dataset_is_written_once_and_read_in_order(tmp_path):
    write_dataset(tmp_path, counts={"square": 4}, processes=1, part=2)
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_dataset(tmp_path, counts={"square": 4}, processes=1, part=2)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    parts = list(read_parts(tmp_path))
    assert len(parts) == 2
    assert all(len(part.pictures) == len(part.subjects) for part in parts)


def test_reading_no_data_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the data command first"):
        next(read_parts(tmp_path))
