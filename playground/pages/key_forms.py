"""The forms about keys: what people type and tick, turned into what `keyring` takes, and its complaints into words
beside the fields."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from marketplace.keys import SCOPES
from marketplace.models import ApiKey
from playground import keyring
from playground.keyring import PRESETS, Wish
from playground.pages.amounts import number

MICROS = 1_000_000
CUSTOM = "custom"
AMOUNT_MAXIMUM = 30
KEEP, NEVER, ON_DAY = "keep", "never", "date"
LIVES = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "1 year"}
GRACES = {"0": "now", "3600": "in 1 hour", "86400": "in 24 hours"}
PRESET_WORDS = {
    "run": ("Run models", "Run, see results and media, upload, see the balance."),
    "read": ("Read only", "See everything that the workspace has, and change nothing."),
    "everything": (
        "Everything",
        "All of the API but buying credit, payouts and opening a publisher: also webhooks and keys.",
    ),
    CUSTOM: ("Choose one by one", ""),
}
# What keyring calls a field, by the name that it has in the form.
FIELDS = {
    "scopes": "preset",
    "expires_at": "life",
    "limit_day_micros": "limit_day",
    "limit_month_micros": "limit_month",
}
NO_AMOUNT = "must be an amount like 20 or 0.50"


class Dollars(forms.Field):
    """An amount of dollars, as micro-dollars; None for nothing."""

    widget = forms.TextInput
    default_error_messages = {"required": NO_AMOUNT}

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return None
        dollars = number(text) if len(text) <= AMOUNT_MAXIMUM else None
        if dollars is not None and 0 <= dollars <= keyring.LIMIT_MAXIMUM // MICROS:
            amount = dollars * MICROS
            if amount == int(amount):
                return int(amount)
        raise forms.ValidationError(NO_AMOUNT)


def written(micros: int | None) -> str:
    """An amount as one types it: `20`, `0.50`, `0.0125`."""
    if micros is None:
        return ""
    whole, rest = divmod(micros, MICROS)
    return f"{whole}.{f'{rest:06}'.rstrip('0'):0<2}" if rest else str(whole)


class KeyForm(forms.Form):
    """A key that is to be made, or changed: what may be changed of one is the same but its kind."""

    name = forms.CharField(max_length=200, required=False)
    kind = forms.ChoiceField(choices=ApiKey.Kind.choices, required=False)
    preset = forms.ChoiceField(choices=[(key, key) for key in PRESET_WORDS], required=False)
    scopes = forms.MultipleChoiceField(choices=list(SCOPES.items()), required=False)
    life = forms.ChoiceField(choices=[(key, key) for key in (KEEP, NEVER, *LIVES, ON_DAY)], required=False)
    life_until = forms.DateField(required=False, input_formats=["%Y-%m-%d"])
    limit_day = Dollars(required=False)
    limit_month = Dollars(required=False)
    origins = forms.CharField(max_length=6000, required=False)
    models = forms.CharField(max_length=4000, required=False)

    def fields_of_wish(
        self, present: Wish | None = None, *, allowed: Collection[str] = tuple(SCOPES)
    ) -> dict[str, Any]:
        """What the form says of a key, by the names of a Wish; a preset is as much of it as is `allowed`. Call it after
        `is_valid`."""
        given = self.cleaned_data
        is_publishable = present.is_publishable if present else given["kind"] == ApiKey.Kind.PUBLISHABLE
        found: dict[str, Any] = {
            "name": given["name"],
            "limit_day_micros": given["limit_day"],
            "limit_month_micros": given["limit_month"],
        }
        if given["life"] != KEEP:
            found["expires_at"] = self._ends()
        if is_publishable:
            lines = {name: given[name].replace(",", " ").split() for name in ("origins", "models")}
            found |= {"origins": lines["origins"], "model_ids": lines["models"]}
        elif given["preset"]:
            preset = given["preset"]
            whole = [one for one in PRESETS.get(preset, ()) if one in allowed]
            found["scopes"] = given["scopes"] if preset == CUSTOM else whole
        if present is None:
            found["is_publishable"] = is_publishable
            if is_publishable:
                found["scopes"] = ()
        return found

    def _ends(self) -> datetime | None:
        life, day = self.cleaned_data["life"], self.cleaned_data["life_until"]
        if life == ON_DAY and day is not None:
            return datetime.combine(day, time(23, 59, 59), UTC)
        return timezone.now() + timedelta(days=int(life)) if life in LIVES else None

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("life") == ON_DAY and not given.get("life_until") and "life_until" not in self.errors:
            self.add_error("life", "needs a day")
        return given

    def complain(self, invalid: keyring.Invalid) -> None:
        """Put what keyring found wrong beside the fields."""
        for error in invalid.errors:
            self.add_error(FIELDS.get(error.field, error.field), error.message)


def preset_of(scopes: Collection[str]) -> str:
    """The preset that has exactly these scopes, or the choice of single ones."""
    return next((name for name, all_of in PRESETS.items() if set(all_of) == set(scopes)), CUSTOM)


def initial_of(wish: Wish) -> dict[str, Any]:
    """The values of the form for a key that is there."""
    return {
        "name": wish.name,
        "kind": "publishable" if wish.is_publishable else "secret",
        "preset": preset_of(wish.scopes),
        "scopes": list(wish.scopes),
        "life": KEEP,
        "limit_day": written(wish.limit_day_micros),
        "limit_month": written(wish.limit_month_micros),
        "origins": "\n".join(wish.origins),
        "models": "\n".join(wish.model_ids),
    }
