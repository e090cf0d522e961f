"""The gallery: what is on the shelf, by search, task and order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace import catalog
from playground.pages import form, shelf, social
from playground.pages.context import workspace_of
from playground.pages.media import of_asset

PAGE = 24
LAST_PAGE = 200
FEATURED = 3
SORTS = (("featured", "Featured"), ("runs", "Most run"), ("newest", "Newest"), ("cheapest", "Cheapest"))
AUTOMATIC_PAGES = 3  # that follow as one scrolls; then a button, so that the end of the page can be reached
MAX_SEARCH = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for."""

    search: str
    task: str
    sort: str
    page: int
    use: str = ""  # a file of the workspace: only models that take its kind, and their links carry it

    @classmethod
    def of(cls, request: HttpRequest) -> Filters:
        sort, page = request.GET.get("sort", ""), request.GET.get("page", "")
        return cls(
            search=request.GET.get("q", "").replace("\0", "").strip()[:MAX_SEARCH],
            task=request.GET.get("task", "").replace("\0", "")[:40],
            sort=sort if sort in dict(SORTS) else "featured",
            page=min(max(1, int(page)), LAST_PAGE) if page.isdecimal() and len(page) < 6 else 1,
            use=request.GET.get("use", "")[:64],
        )

    @property
    def is_plain(self) -> bool:
        return (
            not self.search and not self.task and self.sort == "featured" and self.page == 1 and not self.use
        )

    def link(self, **changes: str | int) -> str:
        """The address of the gallery with some of this changed; defaults are left out."""
        values = {
            "q": self.search,
            "task": self.task,
            "sort": self.sort,
            "page": self.page,
            "use": self.use,
            **changes,
        }
        kept = {k: v for k, v in values.items() if v and (k, v) not in {("sort", "featured"), ("page", 1)}}
        return f"?{urlencode(kept)}"


@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """A page of cards. Its state is its address; htmx asks for the next page of cards alone."""
    filters = Filters.of(request)
    used = form.own_asset(request, filters.use)
    if used is None:
        filters = replace(filters, use="")
    wanted = catalog.listings(
        search=filters.search,
        task=filters.task,
        sort=filters.sort,
        takes=used.media_type.partition("/")[0] if used is not None else "",
        workspace=workspace_of(request),
    )
    if filters.search and filters.sort == "featured":
        wanted = catalog.best(wanted, filters.search)
    start = (filters.page - 1) * PAGE
    left_out = ("readme", "examples", "search", "default_version__manifest")
    found = list(wanted.defer(*left_out)[start : start + PAGE + 1])
    cards = shelf.cards(found[:PAGE], f"?{urlencode({'use': filters.use})}" if filters.use else "")
    has_more = len(found) > PAGE and filters.page < LAST_PAGE
    context = {
        "filters": filters,
        "cards": cards,
        "older": filters.link(page=filters.page + 1) if has_more else "",
        "newer": filters.link(page=filters.page - 1) if filters.page > 1 else "",
        "is_automatic": filters.page <= AUTOMATIC_PAGES,
    }
    if request.headers.get("HX-Target") == "more":
        return render(request, "playground/_cards.html", context)
    lead = cards[:FEATURED] if filters.is_plain and len(cards) > FEATURED else []
    context |= {
        "social": social.of_gallery(),
        "sorts": SORTS,
        "tasks": [(task, filters.link(task=task, page=1)) for task in shelf.tasks()],
        "everything": filters.link(task="", page=1),
        "without_use": filters.link(use="", page=1),
        "used": of_asset(used) if used is not None else None,
        "solo": cards[0] if filters.is_plain and len(cards) == 1 else None,
        "lead": lead,
        "cards": cards[len(lead) :],
        "sampled": shelf.first_sampled(cards[: len(lead) or None]) if filters.is_plain else None,
    }
    return render(request, "playground/gallery.html", context)
