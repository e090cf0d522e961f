"""What templates may say: money, times, counts and icons, each written the same way everywhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from django import template
from django.conf import settings
from django.template import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from marketplace.ids import parse
from playground import assets
from playground.models import Asset
from playground.predictions.files import MAX_BYTES

register = template.Library()

MICROS = 1_000_000
SMALLEST_SHOWN = 100  # micro-dollars in the fourth decimal
UNITS = {
    "megapixel": "MP",
    "second": "s",
    "request": "run",
    "compute_second": "s of compute",
}


@register.filter
def dollars(micros: int | None) -> str:
    """`$0.0250`; six decimals where four would hide something; an en dash for nothing."""
    if micros is None:
        return "–"
    places = 4 if micros % SMALLEST_SHOWN == 0 else 6
    return f"{'−' if micros < 0 else ''}${abs(Decimal(micros)) / MICROS:,.{places}f}"


@register.filter
def unit_price(amount: Decimal | str) -> str:
    """A price per unit, exact: at least four decimals, no zeros after them."""
    whole, _, decimals = f"{Decimal(amount):,.10f}".partition(".")
    return f"${whole}.{decimals[:4]}{decimals[4:].rstrip('0')}"


@register.filter
def unit(name: str) -> str:
    return UNITS.get(name, name)


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


@register.filter
def said(value: object) -> str:
    """A recorded value in words: a mapping as `name value, name value`."""
    if isinstance(value, dict):
        return ", ".join(f"{spaced(str(name))} {one}" for name, one in value.items())
    return str(value)


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
    facts = [asset.media_type.rpartition("/")[2].upper()]
    if asset.width and asset.height:
        facts.append(f"{asset.width} × {asset.height}")
    facts.append(size(asset.size))
    is_picture = asset.media_type.startswith("image/")
    return {
        "name": asset.filename or asset.uid,
        "facts": " · ".join(facts),
        "thumbnail": assets.thumbnail_address(asset) if is_picture else "",
    }


@register.simple_tag
def most_file_bytes() -> int:
    """The most bytes that a file of a run may have."""
    return int(min(MAX_BYTES, settings.MAX_UPLOAD_BYTES))


@register.simple_tag
def icon(name: str) -> SafeString:
    """One picture of the sprite, for the eye only; a word stands beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("vitrine/icons.svg"), name
    )
