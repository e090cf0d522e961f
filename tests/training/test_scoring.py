"""The evaluation's arithmetic, and a judge that reads real renders."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from workers.training.daylight.ceramics import Ceramic
from workers.training.daylight.dataset import draw
from workers.training.daylight.evaluation import held_out_subjects, score, shuffled
from workers.training.daylight.judge import ATTRIBUTES, fit_judge

POT = Ceramic(vessel="vase", glaze="teal", finish="matte", plinth="white", wall="ivory", light="left")


def test_score_counts_each_attribute_and_all_at_once():
    readings = [asdict(POT), {**asdict(POT), "glaze": "plum"}]
    scores, counts = score(readings, [POT, POT])
    assert scores["vessel"] == 1.0
    assert scores["glaze"] == 0.5
    assert scores["all"] == 0.5
    assert counts["glaze"] == 2
    assert "time" not in scores


def test_shuffling_keeps_the_kinds_in_their_places():
    subjects = held_out_subjects(12)
    dealt = shuffled(subjects)
    assert [type(subject) for subject in dealt] == [type(subject) for subject in subjects]
    assert dealt != subjects
    assert sorted(map(repr, dealt)) == sorted(map(repr, subjects))


def test_judge_reads_colours_and_light_off_real_renders(tmp_path):
    judge = fit_judge(tmp_path, count=160)
    pictures, subjects = draw(40, seed=8)
    scores, _ = score(judge.read(pictures), subjects)
    assert scores["wall"] > 0.7
    assert scores["light"] > 0.9
    again = fit_judge(tmp_path, count=160).read(pictures)
    assert again == judge.read(pictures)
    assert set(again[0]) == set(ATTRIBUTES)
    assert np.mean([reading["light"] == "left" for reading in again]) < 1
