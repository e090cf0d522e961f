"""Every part of the design in every state on one page: a state that is missing there is one that nobody designed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from playground.pages import samples
from playground.pages.access import staff

TOKENS = {
    "Paper": ("page", "surface", "sunken", "raised", "hover", "pressed"),
    "Ink": ("ink", "ink-2", "ink-3"),
    "Line": ("line", "line-2", "edge"),
    "Accent": ("accent", "accent-soft", "focus"),
    "Status": ("ok", "bad", "warn", "ok-soft", "bad-soft", "warn-soft"),
    "Chart": ("c1", "c2", "c3", "c4"),
}
PARTS = (
    ("colours", "Colours"),
    ("buttons", "Buttons"),
    ("inputs", "Inputs"),
    ("form", "Controls of the playground"),
    ("words", "Status, tags and chips"),
    ("notices", "Notices"),
    ("predictions", "The live card"),
    ("media", "Media"),
    ("cards", "Listings"),
    ("tables", "Tables, facts and figures"),
    ("charts", "Charts"),
    ("empty", "Empty, loading, broken"),
    ("dialogs", "Dialogs and menus"),
    ("ways", "Ways through"),
)


@require_safe
@never_cache
@staff
def components(request: HttpRequest) -> HttpResponse:
    """The page, drawn with the product's own templates and samples that belong to nobody."""
    chart, span = samples.chart()
    context = {
        "parts": PARTS,
        "tokens": TOKENS,
        "statuses": samples.STATUSES,
        "sizes": (("s", "Small"), ("", "Default"), ("l", "Large")),
        "quote": samples.QUOTE,
        "forms": samples.form_fields(),
        "predictions": list(samples.predictions()),
        "media": samples.media(),
        "cards": samples.cards(),
        "lines": samples.lines(),
        "meters": samples.meters(),
        "chart": chart,
        "span": span,
        "rows": chart.rows,
        "group": "model",
        "tabs": [("By model", "", True), ("By key", "", False), ("By member", "", False)],
        "icons": (
            "search",
            "copy",
            "down",
            "check",
            "x",
            "plus",
            "dice",
            "image",
            "video",
            "audio",
            "cube",
            "text",
            "key",
            "clock",
            "alert",
            "right",
            "layers",
            "stop",
            "again",
            "above",
            "below",
        ),
        "model_url": request.path,
        "long": samples.LONG,
        "prompt": samples.PROMPT,
        "serving": {"is_possible": True},
    }
    return render(request, "staff/components.html", context)
