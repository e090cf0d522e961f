"""What templates may say: money, times, counts and icons, each written the same way everywhere."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from django import template
from django.conf import settings
from django.template import Context
from django.templatetags.static import static
from django.utils import dateformat, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing import receipts
from marketplace.ids import parse
from playground.examiner import extension_of
from playground.models import Asset
from playground.pages import media
from playground.predictions.files import most_bytes

register = template.Library()

MICROS = 1_000_000
UNITS = {
    "megapixel": "MP",
    "second": "s",
    "request": "run",
    "compute_second": "s of compute",
}


@register.filter
def dollars(micros: int | str | None) -> str:
    """`$0.0250`; six decimals where four would hide something; an en dash for nothing and for what is missing."""
    if not isinstance(micros, int):
        return "–"
    return receipts.dollars(micros)


@register.filter
def unit_price(amount: Decimal | str) -> str:
    """A price per unit, exact: at least four decimals, no zeros after them."""
    whole, _, decimals = f"{Decimal(amount):,.10f}".partition(".")
    return f"${whole}.{decimals[:4]}{decimals[4:].rstrip('0')}"


@register.filter
def unit(name: str) -> str:
    return UNITS.get(name, name)


@register.filter
def counted(quantity: str, name: str) -> str:
    """A quantity with its unit: `1 image`, `2 images`."""
    return receipts.counted(quantity, name).strip()


@register.filter
def seconds(milliseconds: float | None) -> str:
    """`84 ms`, `4.6 s`, `2 min 05 s`."""
    if milliseconds is None:
        return "–"
    if milliseconds < 100:
        return f"{max(0, round(milliseconds))} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, rest = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {rest:02} s"


MEDIA_NAMES = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "mp4": "MP4",
    "webm": "WebM",
    "mpeg": "MP3",
    "wav": "WAV",
    "x-safetensors": "safetensors",
}


@register.filter
def media_names(types: str) -> str:
    """`image/png,image/jpeg` as `PNG or JPEG`, `video/*` as `any video`."""
    parts = [name.partition("/") for name in types.split(",") if name]
    named = [f"any {kind}" if sub == "*" else MEDIA_NAMES.get(sub, f"{kind}/{sub}") for kind, _, sub in parts]
    return " or ".join(filter(None, [", ".join(named[:-1]), *named[-1:]]))


@register.filter
def pickable(types: str) -> str:
    """The media types, and beside those that browsers know no files of the ending of their names."""
    endings = {
        name: f".{extension_of(name)}"
        for name in types.split(",")
        if name.startswith(("application/", "model/"))
    }
    return ",".join([*filter(None, types.split(",")), *endings.values()])


@register.filter
def in_seconds(milliseconds: float) -> str:
    """As JSON has it: `1.2`."""
    return f"{milliseconds / 1000:.1f}"


@register.filter
def count(number: int) -> str:
    """`842`, `311k`, `1.2M`."""
    if number < 1000:
        return str(number)
    if number < 1_000_000:
        return f"{number / 1000:.0f}k" if number >= 10_000 else f"{number / 1000:.1f}k"
    return f"{number / 1_000_000:.1f}M"


@register.filter
def size(length: int) -> str:
    """Bytes in words: `184 kB`."""
    if length < 1000:
        return f"{length} B"
    if length >= 1_000_000_000:
        return f"{length / 1_000_000_000:.1f} GB"
    return f"{length / 1000:.0f} kB" if length < 1_000_000 else f"{length / 1_000_000:.1f} MB"


@register.filter
def ago(moment: datetime) -> str:
    """How long ago, short; a date after a week."""
    passed = timezone.now() - moment
    if passed < timedelta(minutes=1):
        return "just now"
    if passed < timedelta(hours=1):
        return f"{passed // timedelta(minutes=1)} min ago"
    if passed < timedelta(days=1):
        return f"{passed // timedelta(hours=1)} h ago"
    if passed < timedelta(days=7):
        return f"{passed // timedelta(days=1)} d ago"
    return f"{moment.day} {moment:%b}"


@register.simple_tag
def when(at: date | None, form: str = "") -> SafeString | str:
    """A moment of UTC, or a day, for readers and for programs: `26 Nov 2026, 12:05 UTC`, to the second in its title."""
    if at is None:
        return "–"
    if not isinstance(at, datetime):
        return format_html(
            '<time datetime="{}">{}</time>', at.isoformat(), dateformat.format(at, form or "j M Y")
        )
    form = form or "j M Y, H:i"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}{}</time>',
        at.isoformat(timespec="seconds"),
        dateformat.format(at, "j M Y, H:i:s"),
        dateformat.format(at, form),
        " UTC" if "H" in form else "",
    )


# What Stripe calls the states of its objects: how they are drawn, and what they are to who reads them.
STRIPE_STATES = {
    "succeeded": ("succeeded", "Succeeded"),
    "paid": ("succeeded", "Arrived"),
    "won": ("succeeded", "Won"),
    "active": ("live", "Active"),
    "pending": ("running", "Pending"),
    "in_transit": ("running", "On its way"),
    "under_review": ("running", "With the bank"),
    "needs_response": ("expiring", "Needs an answer"),
    "restricted": ("expiring", "Restricted"),
    "failed": ("failed", "Failed"),
    "lost": ("failed", "Lost"),
    "rejected": ("failed", "Rejected"),
    "canceled": ("canceled", "Canceled"),
    "closed": ("canceled", "Closed"),
    "": ("draft", "Not asked for"),
}


@register.filter
def stripe_state(name: str | None) -> SafeString:
    """The state of an object of Stripe's, as a shape and a word."""
    status, word = STRIPE_STATES.get(name or "", ("draft", spaced(name or "").capitalize()))
    return format_html('<span class="pill" data-status="{}">{}</span>', status, word)


BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "CrOS", "Linux")


@register.filter
def browser(agent: str) -> str:
    """What a browser says it is, in two words; as it stands where it is none that we know."""
    name = next((name for mark, name in BROWSERS if f"{mark}/" in agent), "")
    system = next((system for system in SYSTEMS if system in agent), "")
    return f"{name} on {system}" if name and system else name or agent or "Unknown"


@register.filter
def ahead(moment: datetime) -> str:
    """How far off, short: `in 5 min`, `in 6 days`."""
    left = moment - timezone.now()
    if left < timedelta(hours=1):
        return f"in {max(1, left // timedelta(minutes=1))} min"
    if left < timedelta(days=2):
        return f"in {left // timedelta(hours=1)} h"
    return f"in {left // timedelta(days=1)} days"


@register.filter
def money(micros: int | None) -> str:
    """A round amount as people set it: `$20`, `$0.50`, `$0.0250`."""
    if micros is None:
        return "–"
    if micros % MICROS == 0:
        return f"${micros // MICROS:,}"
    return f"${Decimal(micros) / MICROS:,.2f}" if micros % 10_000 == 0 else dollars(micros)


@register.filter
def cents(amount: int | None) -> str:
    """An amount of whole cents, as Stripe has them: `$25.00`."""
    if amount is None:
        return "–"
    return f"{'−' if amount < 0 else ''}${abs(Decimal(amount)) / 100:,.2f}"


@register.filter
def percent(share: float) -> str:
    """A share of one as `48 %`; what is there but rounds to nothing is `< 1 %`."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


@register.filter
def hundredths(share: float) -> str:
    """A share of one as a length of a hundred: what a meter is drawn with."""
    return f"{100 * share:.2f}"


@register.filter
def thousands(number: int) -> str:
    """`1,284`."""
    return f"{number:,}"


@register.filter
def said(value: object) -> str:
    """A recorded value in words: a mapping as `name value, name value`."""
    if isinstance(value, dict):
        return ", ".join(f"{spaced(str(name))} {one}" for name, one in value.items())
    return str(value)


@register.filter
def picture(asset: Asset | str) -> str:
    """The address of a small picture of a medium; empty for what has none, and where there is no medium."""
    return media.picture_of(asset) if isinstance(asset, Asset) else ""


@register.filter
def medium_icon(media_type: str) -> str:
    """The icon of what a file is."""
    return media.icon_of(media_type)


@register.filter
def spaced(name: str) -> str:
    """`text-to-image` as `text to image`."""
    return name.replace("-", " ").replace("_", " ")


@register.simple_tag(takes_context=True)
def stored(context: Context, value: str) -> dict[str, str] | None:
    """What there is to show of the file that a field holds by its id, if it is one of the workspace's."""
    workspace = getattr(context.get("request"), "workspace", None)
    public_id = parse(value, "a") if value and len(value) < 64 else None
    if not workspace or public_id is None:
        return None
    asset = Asset.objects.of(workspace).live().filter(public_id=public_id).first()
    if asset is None:
        return None
    kind = asset.media_type.rpartition("/")[2]
    facts = [MEDIA_NAMES.get(kind, kind.upper())]
    if asset.width and asset.height:
        facts.append(f"{asset.width} × {asset.height}")
    facts.append(size(asset.size))
    return {
        "name": asset.filename or asset.uid,
        "facts": " · ".join(facts),
        "thumbnail": media.picture_of(asset),
        "icon": media.icon_of(asset.media_type),
    }


@register.simple_tag
def most_file_bytes(types: str = "") -> int:
    """The most bytes that a file of a run may have, in a field of these types."""
    return int(min(most_bytes(types.split(",")), settings.MAX_UPLOAD_BYTES))


@register.simple_tag
def icon(name: str) -> SafeString:
    """One picture of the sprite, for the eye only; a word stands beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("vitrine/icons.svg"), name
    )
