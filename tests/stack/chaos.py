"""Faults at random moments against a whole Vitrine, and what must be true afterwards.

    python -m tests.stack.chaos --faults 100 --seed 7      (`make chaos`)

Processes are killed and frozen, the disk is full for a while, predictions ask the model to crash, hang, run out of
memory or come out black. Afterwards no prediction is lost, none is charged twice, mates of a batch are unharmed, the
books are exact, and what viewers were told only ever went forward and ended as the row did. The seed decides which
faults come in which order and after which pauses; which step they meet is the machine's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from marketplace.host.places import Places
from tests.conftest import PROJECT, Stack, run_stack
from tests.stack.api import TERMINAL, Api

FAMILIES = PROJECT / "tests" / "families"
CREDIT = 5_000_000
PATIENCE_SECONDS = 400
FROZEN_SECONDS = 17  # longer than a lease
FULL_SECONDS = 3
MOST_OPEN = 12  # predictions at once
SHELVE = """
from marketplace import catalog
from marketplace.models import Publisher
from tests.predictions import cast
fields = {
    "prompt": {"type": "string", "x-order": 0},
    "fault": {"type": "string", "default": "", "x-order": 1},
    "num_inference_steps": {"type": "integer", "default": 6, "minimum": 1, "maximum": 60, "x-order": 2},
    "seed": {"type": "integer", "minimum": 0, "x-control": "seed", "x-order": 3},
    "num_images": {"type": "integer", "default": 1, "minimum": 1, "maximum": 1, "x-measure": "image", "x-order": 4},
}
for name, seconds in (("sturdy", 120), ("faulty", 120), ("hanging", 4),
                      ("dies", 120), ("damaged", 120), ("too-large", 120), ("hangs", 4)):
    made = cast.manifest(
        name=name, lane="cpu", endpoint__max_seconds=seconds, endpoint__batch_on=["num_inference_steps"],
        recipe={"family": "faulty", "weights": name, "defaults": {"step_seconds": 0.12}},
    )
    made["endpoint"]["input"] = {"type": "object", "required": ["prompt"], "properties": fields}
    catalog.publish(Publisher.objects.get(name="vitrine"), made)
"""
# What a poisonous prediction may fail of.
POISONS = {
    "oom": {"out_of_memory"},
    "broken": {"engine_failed"},
    "crash": {"worker_lost"},
    "abort": {"worker_lost"},
    "killed": {"worker_lost"},
    "nan": {"unusable_output"},
    "too_many": set[str](),  # fits once its batch is halved
}
HANGS = ("hang", "hang_locked")
LOADS = {
    "dies": {"worker_lost"},
    "damaged": {"bad_weights"},
    "too-large": {"out_of_memory"},
    "hangs": {"timeout"},
}
ENGINES = ("engine", "engine.2")
PROCESSES = ("web", "control", "redis", "postgres", *ENGINES)
RANK = {"running": 0, "queued": 1}  # within an attempt: it runs, it is given back, it ends


def running(data: Path) -> AbstractContextManager[Stack]:
    """The stack that is harmed, with families that can be told to fail."""
    return run_stack(data, ENGINE_FAMILIES=str(FAMILIES), VITRINE_LANES=f"cpu:{len(ENGINES)}")


@dataclass
class Watched:
    """One prediction that was asked for: what it may end as, and what its viewer was told."""

    id: str
    caller: Api
    may_fail_of: set[str]
    must_fail: bool
    events: list[dict[str, Any]] = field(default_factory=list)
    thread: threading.Thread | None = None


@dataclass
class Report:
    """What was done and seen."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    back_s: list[tuple[str, float]] = field(
        default_factory=list
    )  # from a fault to the next run that ends well

    def __str__(self) -> str:
        slowest, seconds = max(self.back_s, key=lambda one: one[1], default=("none", 0.0))
        return (
            f"seed {self.seed}: {self.faults.total()} faults ({_listed(self.faults)}); "
            f"{self.ended.total()} predictions ended ({_listed(self.ended)}); "
            f"a run was made again at most {seconds:.1f} s after a fault ({slowest})"
        )


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items()))


class Chaos:
    """One stack, its callers, and the faults."""

    def __init__(self, stack: Stack, *, seed: int) -> None:
        self.stack = stack
        self.dice = random.Random(seed)
        self.report = Report(seed)
        self.watched: list[Watched] = []
        self._let_go_at = 0.0
        stack.manage("shell", "--no-imports", "-c", SHELVE)
        self.callers = [Api(stack.url, _key(stack, f"chaos-{seed}-{number}")) for number in range(2)]

    def run(self, count: int) -> Report:
        """So many faults, then quiet, then the judgement. Raises AssertionError."""
        for name in self._kinds(count):
            self._load()
            time.sleep(self.dice.uniform(0.1, 1.5))
            self._do(name)
            self.report.faults[name] += 1
            at = time.monotonic()
            canary = self._submit("sturdy", caller=self.callers[0])
            self._until(partial(self._is_over, canary), f"a run after {name}")
            self.report.back_s.append((name, time.monotonic() - at))
        self._until(lambda: all(map(self._is_over, self.watched)), "the end of all")
        for one in self.watched:
            assert one.thread is not None
            one.thread.join(60)
            self._judge(one)
        self._judge_money()
        return self.report

    def _kinds(self, count: int) -> list[str]:
        """Which faults, in which order: each kind in turn, shuffled; those that take long seldom."""
        seldom = ["frozen", *HANGS, "hangs"]
        often = [*PROCESSES, *POISONS, *(one for one in LOADS if one not in seldom), "child", "full disk"]
        kinds = [self.dice.choice(seldom) for _ in range(max(1, count // 10))]
        while len(kinds) < count:
            kinds += self.dice.sample(often, min(len(often), count - len(kinds)))
        self.dice.shuffle(kinds)
        return kinds

    def _do(self, name: str) -> None:
        if name in PROCESSES:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid(name), signal.SIGKILL)
        elif name in POISONS:
            caller = self.dice.choice(self.callers)
            for fault in (name, "", ""):  # two more that may share its batch
                self._submit("faulty", caller=caller, fault=fault)
        elif name in HANGS:
            self._submit("hanging", caller=self.dice.choice(self.callers), fault=name)
        elif name in LOADS:
            self._submit(name, caller=self.dice.choice(self.callers))
        else:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                self._harm(name, self._engine_child())

    def _harm(self, name: str, child: psutil.Process) -> None:
        """What is done to the process that holds the model."""
        if name == "child":
            child.kill()
        elif name == "frozen":
            child.suspend()
            time.sleep(FROZEN_SECONDS)
            child.resume()
        else:
            # To a process with this limit a file cannot grow: what a full disk is to it, and to it alone.
            _, hard = resource.prlimit(child.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (0, hard))
            time.sleep(FULL_SECONDS)
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def _pid(self, name: str) -> int:
        """The process, once it is there: it may be on its way back from the last fault."""
        found: list[int] = []

        def there() -> bool:
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = self.stack.pid_of(name)
                if psutil.pid_exists(pid):
                    found.append(pid)
            return bool(found)

        self._until(there, f"process {name}")
        return found[0]

    def _engine_child(self) -> psutil.Process:
        found: list[psutil.Process] = []

        def there() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.extend(psutil.Process(self._pid(self.dice.choice(ENGINES))).children())
            return bool(found)

        self._until(there, "the engine's child")
        return found[0]

    def _load(self) -> None:
        """Keep the engine busy, so that faults meet something."""
        while sum(not self._is_over(one) for one in self.watched) < MOST_OPEN // 2:
            self._submit("sturdy", caller=self.dice.choice(self.callers), steps=self.dice.choice((3, 6, 12)))

    def _submit(self, model: str, *, caller: Api, fault: str = "", steps: int = 6) -> Watched:
        body = {
            "model": f"vitrine/{model}",
            "input": {"prompt": "a card", "fault": fault, "num_inference_steps": steps},
        }
        key = f"{len(self.watched)}-{self.dice.getrandbits(64):x}"
        found: list[str] = []

        def accepted() -> bool:
            with contextlib.suppress(httpx.TransportError):
                answer = caller.http.post("/predictions", json=body, headers={"Idempotency-Key": key})
                assert answer.status_code in {201, 409, 500, 502, 503}, answer.text
                found.extend([answer.json()["id"]] if answer.status_code == 201 else [])
            return bool(found)

        self._until(accepted, "a submit")
        must = LOADS.get(model) or POISONS.get(fault) or ({"timeout"} if fault in HANGS else set())
        # The engine may be killed with any prediction three times; then that fails, and says so.
        one = Watched(found[0], caller, {"worker_lost", "not_stored", *must}, must_fail=bool(must))
        one.thread = threading.Thread(target=_follow, args=(one,), daemon=True)
        one.thread.start()
        self.watched.append(one)
        return one

    def _is_over(self, one: Watched) -> bool:
        return bool(one.events) and one.events[-1]["status"] in TERMINAL

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                waiting = [one.events[-1:] for one in self.watched if not self._is_over(one)]
                raise AssertionError(f"waited too long for {what}; {self.report}; open: {waiting}")
            self._let_go()
            time.sleep(0.1)

    def _let_go(self) -> None:
        """The operator lets versions go that are paused, so that every poison gets to its end."""
        if time.monotonic() < self._let_go_at:
            return
        self._let_go_at = time.monotonic() + 1
        with contextlib.suppress(psycopg.Error):
            url = Places.at(self.stack.data).postgres_url()
            with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
                connection.execute("UPDATE playground_quarantine SET until = now() WHERE until > now()")

    def _judge(self, one: Watched) -> None:
        """Its row against what its viewer was told."""
        row = one.caller.get(one.id)
        story = [(e["attempt"], RANK.get(e["status"], 2)) for e in one.events]
        assert story == sorted(story), (one.id, story)
        assert sum(rank == 2 for _, rank in story) == 1, story
        last = one.events[-1]
        for name in ("status", "attempt", "error", "cost_micros"):
            assert last[name] == row[name], (one.id, name, last[name], row[name])
        self.report.ended[row["error"]["code"] if row["error"] else row["status"]] += 1
        if row["status"] == "succeeded":
            assert not one.must_fail, row
            assert row["cost_micros"] == row["quote"]["amount_micros"]
            assert row["metrics"]["store_s"] >= 0
        else:
            assert row["status"] == "failed", row
            assert row["cost_micros"] == 0
            assert row["error"]["code"] in one.may_fail_of, row
            assert row["error"]["message"].count(".") >= 1

    def _judge_money(self) -> None:
        """No prediction is there that nobody asked for, and what is gone from each balance is what they cost."""
        asked = {one.id for one in self.watched}
        for caller in self.callers:
            rows = list(_all(caller))
            assert {row["id"] for row in rows} <= asked
            balance = caller.balance()
            assert balance["held_micros"] == 0
            assert balance["available_micros"] == CREDIT - sum(row["cost_micros"] for row in rows)
        self.stack.manage("ledger", "verify")


def _all(caller: Api) -> Iterator[dict[str, Any]]:
    url: str | None = "/predictions?limit=100"
    while url:
        page = caller.http.get(url).json()
        yield from page["results"]
        url = page["next"]


def _key(stack: Stack, workspace: str) -> str:
    credit = f"{CREDIT / 1_000_000:.2f}"
    return stack.manage("create_key", workspace, "--credit", credit).strip().splitlines()[-1]


def _follow(one: Watched) -> None:
    """Read a prediction's events to the end, over as many connections as it takes."""
    deadline = time.monotonic() + 3 * PATIENCE_SECONDS
    headers = {"Authorization": one.caller.http.headers["Authorization"]}
    while time.monotonic() < deadline:
        try:
            with (
                httpx.Client(
                    base_url=one.caller.http.base_url, headers=headers, timeout=30, trust_env=False
                ) as http,
                http.stream("GET", f"/predictions/{one.id}/events") as answer,
            ):
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        one.events.append(json.loads(line.removeprefix("data: ")))
        except httpx.HTTPError:
            pass
        if one.events and one.events[-1]["status"] in TERMINAL:
            return
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="vitrine-chaos-") as folder,
        running(Path(folder) / "data") as stack,
    ):
        print(Chaos(stack, seed=asked.seed).run(asked.faults))


if __name__ == "__main__":
    main()
