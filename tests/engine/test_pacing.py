from __future__ import annotations

import pytest

from workers.engine.previews import PreviewPlan


def frames(
    plan: PreviewPlan, *, jobs: int, steps: int, step_s: float, frame_s: float
) -> list[tuple[int, int]]:
    made = []
    for step in range(1, steps + 1):
        waiting = list(range(jobs))
        while waiting and plan.allows(step=step, elapsed_s=step * step_s):
            place = plan.turn(waiting)
            waiting.remove(place)
            plan.spent(frame_s)
            made.append((step, place))
    return made


@pytest.mark.parametrize(("steps", "least"), [(20, 8), (12, 8), (8, 6), (4, 3), (2, 1), (1, 0)])
def test_one_alone_gets_its_frames_even_where_they_are_dear(steps: int, least: int) -> None:
    made = frames(
        PreviewPlan(jobs=1, steps=steps, expected_cost_s=1), jobs=1, steps=steps, step_s=0.01, frame_s=1
    )
    assert len(made) == least
    assert all(step <= 0.8 * steps for step, _ in made)


def test_one_alone_gets_a_frame_every_step_where_they_are_cheap() -> None:
    made = frames(PreviewPlan(jobs=1, steps=20, expected_cost_s=0), jobs=1, steps=20, step_s=1, frame_s=0.01)
    assert [step for step, _ in made] == list(range(1, 17))


def test_a_batch_keeps_to_its_budget_and_shares_it() -> None:
    plan = PreviewPlan(jobs=4, steps=50, expected_cost_s=0.01)
    made = frames(plan, jobs=4, steps=50, step_s=0.1, frame_s=0.01)
    assert plan.spent_s <= 0.03 * 40 * 0.1 + 1e-9
    counts = [sum(1 for _, place in made if place == job) for job in range(4)]
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 2


def test_a_batch_that_cannot_pay_gets_nothing() -> None:
    assert not frames(
        PreviewPlan(jobs=8, steps=20, expected_cost_s=5), jobs=8, steps=20, step_s=0.1, frame_s=5
    )
