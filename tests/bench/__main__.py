"""`make bench`: the figures that Vitrine is measured by, each beside its floor in the same run.

Machines are noisy: compare the two columns of one run, not the runs. `--only WORD` measures the rows named so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import psycopg

from marketplace.host.places import Places
from tests.bench import browser, floors, peers, polling, pressure, rows
from tests.bench.adapters import swaps_ms
from tests.bench.rows import Row
from tests.conftest import Stack, run_stack

STEPS, BATCH = 8, 16


class Bench:
    """One stack, its keys and its floors."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.places = Places.at(stack.data)
        stack.manage("publish", str(Path(__file__).with_name("null.toml")), "--publisher", "vitrine")
        self.keys = [self._key(f"bench-{n}") for n in range(rows.CLIENTS)]

    def _key(self, workspace: str) -> str:
        return self.stack.manage("create_key", workspace, "--credit", "1000").strip().splitlines()[-1]

    def overhead(self) -> Iterator[Row]:
        commit = floors.commit_ms(self.places.postgres_url())
        with floors.celery_worker(self.places.broker_url()):
            bare, bare_rate = floors.celery_round_trip_ms(), floors.celery_per_second()
        spent = asyncio.run(rows.sequential_ms(self.stack.url, self.keys[0]))
        yield Row(
            "outside the model, one after the other",
            f"{spent:.1f} ms",
            f"bare Celery {bare:.1f} ms, a commit {commit:.1f} ms",
            "25 ms",
        )
        many = asyncio.run(rows.per_second(self.stack.url, self.keys, rows.NULL, 40))
        one = asyncio.run(rows.per_second(self.stack.url, self.keys[:1] * rows.CLIENTS, rows.NULL, 40))
        beside = f"bare Celery {bare_rate:.0f}/s"
        yield Row("null predictions, 16 clients of 16 workspaces", f"{many:.0f}/s", beside, "120/s")
        yield Row("null predictions, 16 clients of one workspace", f"{one:.0f}/s", beside, "60/s")

    def pictures(self) -> Iterator[Row]:
        body = rows.picture(STEPS)
        asyncio.run(rows.per_second(self.stack.url, self.keys[:1], body, 1))
        # Twice each and in turn: what disturbs the machine for a while shall not disturb one side alone.
        bares, runs = [], []
        for _ in range(2):
            bares.append(floors.bare_pipe(STEPS, BATCH))
            runs.append(asyncio.run(rows.per_second(self.stack.url, self.keys, body, 8)))
        bare, served = max(bares, key=lambda one: one["per_second"]), max(runs)
        alone = floors.bare_pipe(STEPS, 1)
        first = alone["first_step_ms"]
        yield Row(
            "pictures/s, 16 clients, progress on",
            f"{served:.2f}/s = {served / bare['per_second']:.0%}",
            f"bare pipe(batch of {BATCH}) {bare['per_second']:.2f}/s",
            "90 %",
        )
        shown = asyncio.run(rows.first_progress_ms(self.stack.url, self.keys[0]))
        yield Row(
            "submit to first progress event",
            f"{shown:.0f} ms",
            f"the first step alone {first:.0f} ms",
            "80 ms",
        )
        lone = asyncio.run(rows.lone_ms(self.stack.url, self.keys[0], STEPS))
        spent = lone - alone["seconds"] * 1000
        yield Row(
            "a picture for a lone caller",
            f"{lone:.0f} ms = + {spent:.0f} ms",
            f"bare pipe(batch of 1) {alone['seconds'] * 1000:.0f} ms",
            "",
        )

    def peers(self) -> Iterator[Row]:
        """The same pipeline behind other servers: none shows progress in batches, keeps or charges anything."""
        body = rows.picture(STEPS)
        asyncio.run(rows.per_second(self.stack.url, self.keys[:1], body, 1))
        for name in ("litserve", "gradio"):
            with peers.serving(name, steps=STEPS, batch=BATCH) as url:
                theirs = asyncio.run(peers.per_second(name, url, clients=rows.CLIENTS, each=8))
            ours = asyncio.run(rows.per_second(self.stack.url, self.keys, body, 8))
            yield Row(
                f"pictures/s, 16 clients, beside {name}",
                f"{ours:.2f}/s = {ours / theirs:.0%}",
                f"{name} in batches, without progress {theirs:.2f}/s",
                "",
            )

    def loading(self) -> Iterator[Row]:
        found = floors.loading()
        for name, figure in (("", "weights loaded"), ("_swap", "one model changed for another")):
            ours, bare = found[f"ours{name}"], found[f"bare{name}"]
            yield Row(figure, f"{ours * 1000:.0f} ms", f"plain diffusers {bare * 1000:.0f} ms", "")

    def polls(self) -> Iterator[Row]:
        yield from polling.figures(self.stack, self.keys)

    def viewers(self) -> Iterator[Row]:
        bare = floors.fan_out_ms(self.places.redis_url(), 1000)
        last = asyncio.run(rows.viewers_ms(self.stack.url, self.keys[0]))
        beside = f"bare asyncio and Redis {bare:.0f} ms"
        yield Row("1,000 viewers, one event, the last one", f"{last:.0f} ms", beside, "400 ms")

    def memory(self) -> Iterator[Row]:
        web = rows.memory_mb(self.stack.pid_of("web"))
        engine = psutil.Process(self.stack.pid_of("engine"))
        child = sum(rows.memory_mb(p.pid) for p in [engine, *engine.children(recursive=True)])
        yield Row("memory of web / engine with the model", f"{web:.0f} / {child:.0f} MB", "", "200 / 800 MB")

    def gallery(self) -> Iterator[Row]:
        count = 100_000
        with psycopg.connect(self.places.postgres_url()) as connection:
            connection.execute(_MANY_LISTINGS, {"count": count})
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE marketplace_listing")  # as it is a minute later
        paths = {
            "/": "gallery",
            "/?q=glaz": "gallery, a rare word",
            "/?q=copy": "gallery, a word that all have",
            "/?q=number+99": "gallery, two words",
            "/?q=copy&sort=newest": "gallery, a common word, newest",
            "/?sort=cheapest": "gallery, cheapest",
            "/?task=text-to-image&sort=runs&page=20": "gallery, a task, page 20",
            "/m/vitrine/daylight": "model page",
            "/m/vitrine/daylight/examples": "model page, examples",
            "/api/v1/models?search=number": "API, models?search=",
        }
        for path, name in paths.items():
            spent = asyncio.run(rows.page_ms(self.stack.url, path, self.keys[0]))
            yield Row(f"{name} with {count:,} listings, p95", f"{spent:.0f} ms", "", "60 ms")

    def usage(self) -> Iterator[Row]:
        count = 1_000_000
        signed_in = self.stack.manage("shell", "-c", _SIGNED_IN).strip().splitlines()[-1]
        with psycopg.connect(self.places.postgres_url(), autocommit=True) as connection:
            values = {"count": count, "slug": "bench-0"}
            # The days are counted at once and not record by record: this is about reading.
            connection.execute("ALTER TABLE billing_usagerecord DISABLE TRIGGER usage_record_counted")
            connection.execute(_MANY_RECORDS, values)
            connection.execute(_THEIR_HOLDS, values)
            connection.execute(_THEIR_DAYS, values)
            connection.execute("ALTER TABLE billing_usagerecord ENABLE TRIGGER usage_record_counted")
            connection.execute("VACUUM ANALYZE billing_usagerecord, billing_usageday, billing_hold")
        paths = {
            "/dashboard/usage": "usage page",
            "/dashboard/usage?by=key": "usage page, by key",
            f"/dashboard/usage?from={_days_ago(365)}": "usage page, a year",
            "/api/v1/usage?group_by=model": "API, usage",
            "/api/v1/receipts": "API, receipts",
        }
        for path, name in paths.items():
            extra = f"Cookie: sessionid={signed_in}\r\n" if path.startswith("/dashboard") else ""
            spent = asyncio.run(rows.page_ms(self.stack.url, path, self.keys[0], extra=extra))
            yield Row(f"{name} with {count:,} records, p95", f"{spent:.0f} ms", "", "20 ms")

    def browser(self) -> Iterator[Row]:
        pages = {"gallery": "/", "model page": "/m/vitrine/daylight"}
        with browser.chromium() as chromium:
            for name, path in pages.items():
                fast = browser.visited(chromium, self.stack.url + path)
                slow = browser.visited(chromium, self.stack.url + path, slowdown=browser.SLOW)
                yield Row(
                    f"{name} interactive in a fresh browser",
                    f"{fast.interactive_ms:.0f} ms",
                    f"painted {fast.painted_ms:.0f} ms, long tasks {fast.blocked_ms:.0f} ms",
                    "1,000 ms",
                )
                yield Row(
                    f"the same with a CPU {browser.SLOW} times slower",
                    f"{slow.interactive_ms:.0f} ms",
                    f"painted {slow.painted_ms:.0f} ms, long tasks {slow.blocked_ms:.0f} ms",
                    "2,000 ms",
                )
                yield Row(f"{name}, weight without media", f"{fast.size / 1000:.0f} kB", "", "100 kB")


def _days_ago(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


_SIGNED_IN = """
from django.test import Client
from marketplace.models import Membership, User, Workspace
user = User.objects.create_user("bench@example.test", "a long password")
Membership.objects.create(workspace=Workspace.objects.get(slug="bench-0"), user=user)
client = Client()
client.force_login(user)
print(client.cookies["sessionid"].value)
"""

# Of twelve models, eight keys and six members over a year.
_MANY_RECORDS = """
INSERT INTO billing_usagerecord (reference, workspace_id, book, model, key_id, user_id, status, quote, units,
                                 amount_micros, occurred_at)
SELECT gen_random_uuid(), w.id, 'test', 'vitrine/model-' || floor(random() * 12),
       CASE WHEN n %% 5 > 0 THEN 1 + floor(random() * 8) END, CASE WHEN n %% 5 = 0 THEN 1 + floor(random() * 6) END,
       CASE WHEN n %% 20 = 0 THEN 'failed' ELSE 'succeeded' END, '{}', '{}',
       CASE WHEN n %% 20 = 0 THEN 0 ELSE 1000 + n %% 977 END, now() - n * interval '365 days' / %(count)s
  FROM marketplace_workspace w, generate_series(0, %(count)s - 1) n WHERE w.slug = %(slug)s
"""
# What the books keep of a run is its record and its hold, from which a receipt is told when the run itself is gone.
_THEIR_HOLDS = """
INSERT INTO billing_hold (reference, workspace_id, book, granted_micros, bought_micros, captured_micros, state,
                          window_ids, opened_by_id, opened_at, closed_at)
SELECT r.reference, r.workspace_id, r.book, 2000, 0, r.amount_micros,
       CASE WHEN r.status = 'failed' THEN 'released' ELSE 'captured' END, '{}',
       (SELECT min(id) FROM billing_ledgertransaction), r.occurred_at - interval '5 s', r.occurred_at
  FROM billing_usagerecord r JOIN marketplace_workspace w ON w.id = r.workspace_id
 WHERE w.slug = %(slug)s AND r.model LIKE 'vitrine/model-%%'
"""
_THEIR_DAYS = """
INSERT INTO billing_usageday (workspace_id, book, day, model, key_id, user_id, runs, not_charged, amount_micros)
SELECT r.workspace_id, r.book, (r.occurred_at AT TIME ZONE 'UTC')::date, r.model, coalesce(r.key_id, 0),
       coalesce(r.user_id, 0), count(*), count(*) FILTER (WHERE r.amount_micros = 0 AND r.status <> 'succeeded'),
       sum(r.amount_micros)
  FROM billing_usagerecord r JOIN marketplace_workspace w ON w.id = r.workspace_id
 WHERE w.slug = %(slug)s AND r.model LIKE 'vitrine/model-%%' GROUP BY 1, 2, 3, 4, 5, 6
"""

# The trigger finds the words of each; every price is another.
_MANY_LISTINGS = """
INSERT INTO marketplace_listing (public_id, publisher_id, name, tagline, readme, task, license, cover, visibility,
                                 featured, default_version_id, run_count, created_at, examples, takes, typical_micros)
SELECT gen_random_uuid(), l.publisher_id, 'copy-' || n, 'Copy number ' || n, '', l.task, l.license, l.cover, 'public',
       0, l.default_version_id, n %% 1000, now() - n * interval '1 minute', '[]', '', 1000 + n
  FROM marketplace_listing l, generate_series(1, %(count)s) n
 WHERE l.name = 'daylight'
"""


def restart(folder: Path) -> Iterator[Row]:
    """A second start, up to the first picture; and all processes killed with nine predictions in hand."""
    begun = time.perf_counter()
    with run_stack(folder, VITRINE_LANES="") as stack:
        key = stack.manage("create_key", "restart", "--credit", "10").strip().splitlines()[-1]
        asyncio.run(rows.per_second(stack.url, [key], rows.picture(STEPS), 1))
        yield Row("second start to first picture", f"{time.perf_counter() - begun:.1f} s", "", "20 s")
        asyncio.run(_submit_nine(stack.url, key))
        doomed = [psutil.Process(stack.pid), *psutil.Process(stack.pid).children(recursive=True)]
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=10)
    begun = time.perf_counter()
    with run_stack(folder, VITRINE_LANES="") as stack:
        asyncio.run(_wait_for_all(stack.url, key))
        yield Row(
            "all killed with nine in hand: all done after", f"{time.perf_counter() - begun:.1f} s", "", "20 s"
        )


def adapters() -> Iterator[Row]:
    """Two adapters in turn on the shipped model, by its engine alone."""
    found = swaps_ms()
    yield Row(
        "another adapter on the same base, loaded / for the first time",
        f"{found['swap']:.0f} / {found['first']:.0f} ms",
        f"load_lora_weights for each call {found['plain']:.0f} ms",
        "50 ms",
    )


async def _submit_nine(url: str, key: str) -> None:
    wire = rows.Wire(url, key)
    for n in range(9):
        await wire.call("POST", "/api/v1/predictions", rows.picture(STEPS, n))


async def _wait_for_all(url: str, key: str) -> None:
    wire = rows.Wire(url, key)
    while True:
        _, found = await wire.call("GET", "/api/v1/predictions?limit=20")
        if all(run["status"] == "succeeded" for run in found["results"]):
            return
        await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        default="",
        help="pictures, peers, loading, memory, overhead, viewers, polls, browser, usage, gallery, mixed, restart, "
        "adapters",
    )
    parser.add_argument("--seconds", type=float, default=600, help="of mixed traffic")
    asked = parser.parse_args()
    only = asked.only
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as temporary:
        folder = Path(temporary) / "data"
        print(f"{'figure':<48} {'here':>22}   {'beside':<46} must")
        if only != "mixed":
            # What it can, not what it lets one key do.
            with run_stack(folder, API_REQUESTS_PER_MINUTE="0", VITRINE_LANES="") as stack:
                bench = Bench(stack)
                steps: list[Callable[[], Iterator[Row]]] = [
                    bench.pictures,
                    bench.peers,
                    bench.loading,
                    bench.memory,
                    bench.overhead,
                    bench.viewers,
                    bench.polls,
                    bench.browser,
                    bench.usage,
                    bench.gallery,
                ]
                for step in steps:
                    if only in step.__name__:
                        _print(step())
        if only in "mixed":
            _print(pressure.mixed(Path(temporary) / "mixed", asked.seconds))
        if only in "restart":
            _print(restart(folder))
        if only in "adapters":
            _print(adapters())


def _print(found: Iterator[Row]) -> None:
    for row in found:
        print(f"{row.figure:<48} {row.value:>22}   {row.beside:<46} {row.must}", flush=True)


if __name__ == "__main__":
    main()
