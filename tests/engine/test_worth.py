from __future__ import annotations

from workers.engine.worth import Worth


def order(worth: Worth, *keys: str) -> list[str]:
    return sorted(keys, key=worth.of)


def test_what_is_dear_to_load_and_frees_little_stays() -> None:
    worth = Worth()
    worth.used("slow", reload_s=40, bytes=100)
    worth.used("large", reload_s=40, bytes=1000)
    worth.used("quick", reload_s=2, bytes=100)
    assert order(worth, "slow", "large", "quick") == ["quick", "large", "slow"]


def test_what_is_used_often_stays_but_not_for_ever() -> None:
    worth = Worth()
    for _ in range(10):
        worth.used("old", reload_s=1, bytes=1)
    for number in range(30):  # others come, are used once and go
        worth.used(str(number), reload_s=1, bytes=1)
        assert worth.of(str(number)) > 0
        if worth.of("old") < worth.of(str(number)):
            break
        worth.went(str(number))
    else:
        raise AssertionError("what nobody uses any more outlived thirty others")
    assert 5 < number < 30


def test_what_went_begins_anew() -> None:
    worth = Worth()
    for _ in range(5):
        worth.used("a", reload_s=1, bytes=1)
    worth.went("a")
    worth.used("a", reload_s=1, bytes=1)
    worth.used("b", reload_s=2, bytes=1)
    assert order(worth, "b", "a") == ["a", "b"]
