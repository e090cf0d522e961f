"""The gallery: what is on the shelf, by search, task and order."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace import catalog
from playground.pages import shelf
from playground.pages.context import workspace_of

PAGE = 24
LAST_PAGE = 200
FEATURED = 3
SORTS = (("featured", "Featured"), ("runs", "Most run"), ("newest", "Newest"))
MAX_SEARCH = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for."""

    search: str
    task: str
    sort: str
    page: int

    @classmethod
    def of(cls, request: HttpRequest) -> Filters:
        sort, page = request.GET.get("sort", ""), request.GET.get("page", "")
        return cls(
            search=request.GET.get("q", "").replace("\0", "").strip()[:MAX_SEARCH],
            task=request.GET.get("task", "").replace("\0", "")[:40],
            sort=sort if sort in dict(SORTS) else "featured",
            page=min(max(1, int(page)), LAST_PAGE) if page.isdecimal() and len(page) < 6 else 1,
        )

    @property
    def is_plain(self) -> bool:
        return not self.search and not self.task and self.sort == "featured" and self.page == 1

    def link(self, **changes: str | int) -> str:
        """The address of the gallery with some of this changed; defaults are left out."""
        values = {"q": self.search, "task": self.task, "sort": self.sort, "page": self.page, **changes}
        kept = {k: v for k, v in values.items() if v and (k, v) not in {("sort", "featured"), ("page", 1)}}
        return f"?{urlencode(kept)}"


@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """A page of cards. Its state is its address; htmx asks for the next page of cards alone."""
    filters = Filters.of(request)
    wanted = catalog.listings(
        search=filters.search, task=filters.task, sort=filters.sort, workspace=workspace_of(request)
    )
    start = (filters.page - 1) * PAGE
    found = list(wanted.defer("readme", "default_version__manifest")[start : start + PAGE + 1])
    cards = shelf.cards(found[:PAGE])
    has_more = len(found) > PAGE and filters.page < LAST_PAGE
    context = {
        "filters": filters,
        "cards": cards,
        "older": filters.link(page=filters.page + 1) if has_more else "",
        "newer": filters.link(page=filters.page - 1) if filters.page > 1 else "",
    }
    if request.headers.get("HX-Target") == "more":
        return render(request, "playground/_cards.html", context)
    lead = cards[:FEATURED] if filters.is_plain and len(cards) > FEATURED else []
    context |= {
        "sorts": SORTS,
        "tasks": [(task, filters.link(task=task, page=1)) for task in shelf.tasks()],
        "everything": filters.link(task="", page=1),
        "solo": cards[0] if filters.is_plain and len(cards) == 1 else None,
        "lead": lead,
        "cards": cards[len(lead) :],
        "sampled": shelf.first_sampled(cards[: len(lead) or None]) if filters.is_plain else None,
    }
    return render(request, "playground/gallery.html", context)
