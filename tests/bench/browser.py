"""What a fresh browser makes of a page: when it can be used, and what it had to load for that.

Chromium with an empty cache is asked over its DevTools protocol and by its own performance entries. A page is
interactive when it has been painted, its scripts have run, and the last task that would have kept an input waiting has
ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from tests.screenshots import ARGUMENTS, CHROMIUM

VISITS = 5
QUIET_MS = 500  # without a long task, after all has loaded
SLOW = 4  # times: a telephone of the middle
MEDIA = {"Image", "Media"}

_WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) window.longTasks.push([one.startTime, one.duration]);
}).observe({ type: "longtask", buffered: true });
"""
_READ = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
  const ends = window.longTasks.map(([start, length]) => start + length);
  return {
    painted: paint,
    interactive: Math.max(paint, page.domContentLoadedEventEnd, ...ends),
    blocked: window.longTasks.reduce((sum, [, length]) => sum + length - 50, 0),
  };
}"""


@dataclass(frozen=True, slots=True)
class Visit:
    """Milliseconds since the navigation began, and bytes over the wire without media, heads of answers in them."""

    painted_ms: float
    interactive_ms: float
    blocked_ms: float  # what long tasks took beyond 50 ms each
    size: int


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def visited(browser: Browser, url: str, *, slowdown: int = 1) -> Visit:
    """The median of several visits, each with an empty cache."""
    visits = [_visit(browser, url, slowdown) for _ in range(VISITS)]
    return Visit(
        painted_ms=median(one.painted_ms for one in visits),
        interactive_ms=median(one.interactive_ms for one in visits),
        blocked_ms=median(one.blocked_ms for one in visits),
        size=max(one.size for one in visits),
    )


def _visit(browser: Browser, url: str, slowdown: int) -> Visit:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    tools = context.new_cdp_session(page)
    kinds: dict[str, str] = {}
    sizes: dict[str, int] = {}
    tools.on("Network.responseReceived", lambda said: kinds.update({said["requestId"]: said["type"]}))
    tools.on(
        "Network.loadingFinished", lambda said: sizes.update({said["requestId"]: said["encodedDataLength"]})
    )
    tools.send("Network.enable")
    tools.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    page.add_init_script(_WATCH)
    page.goto(url, wait_until="networkidle")
    page.wait_for_timeout(QUIET_MS)
    found = page.evaluate(_READ)
    context.close()
    return Visit(
        painted_ms=found["painted"],
        interactive_ms=found["interactive"],
        blocked_ms=found["blocked"],
        size=round(sum(size for one, size in sizes.items() if kinds.get(one) not in MEDIA)),
    )
