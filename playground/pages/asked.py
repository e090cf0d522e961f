"""What the address of the history asks for, as the form writes it, and the choices that it offers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from marketplace.ids import encode, parse
from marketplace.models import ApiKey, Membership, User, Workspace
from playground.models import Prediction
from playground.pages.amounts import number
from playground.predictions import Filters

MICROS = 1_000_000
MAX_TEXT = 200
MAX_DOLLARS = 1_000_000
MAX_OFFERED = 100  # keys and people in the list of who ran it
SPANS = (("1", "Today"), ("7", "Last 7 days"), ("30", "Last 30 days"), ("90", "Last 90 days"))
DAY_LENGTH = 20
NO_DAY = "is no day: write it like 2027-01-31"
NOBODY = -1  # the row id of who is not there


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters as text. What makes no sense is left out, so that every address is a page."""

    q: str = ""
    status: str = ""
    model: str = ""
    who: str = ""
    when: str = ""
    since: str = ""
    until: str = ""
    cost: str = ""
    shared: str = ""
    typed_since: str = field(
        default="", compare=False
    )  # as they stand in the form, whether they are days or not
    typed_until: str = field(default="", compare=False)

    @classmethod
    def of(cls, query: QueryDict) -> Asked:
        def text(name: str, length: int = 100) -> str:
            return query.get(name, "").replace("\0", "").strip()[:length]

        status, when = text("status"), text("when")
        return cls(
            q=text("q", MAX_TEXT),
            status=status if status in Prediction.Status.values else "",
            model=text("model"),
            who=text("who"),
            when=when if when in dict(SPANS) else "",
            since=text("from") if _day(text("from")) else "",
            until=text("to") if _day(text("to")) else "",
            cost=text("cost", 20) if _micros(text("cost", 20)) else "",
            shared="1" if text("shared") else "",
            typed_since=text("from", DAY_LENGTH),
            typed_until=text("to", DAY_LENGTH),
        )

    @property
    def is_plain(self) -> bool:
        return self == Asked()

    @property
    def has_more(self) -> bool:
        """Whether one of the filters is set that are folded away."""
        return bool(self.typed_since or self.typed_until or self.cost or self.shared)

    @property
    def since_trouble(self) -> str:
        return NO_DAY if self.typed_since and not self.since else ""

    @property
    def until_trouble(self) -> str:
        return NO_DAY if self.typed_until and not self.until else ""

    def words(self) -> list[tuple[str, str]]:
        """What is looked for, for a page that shows no form of it: (what, which)."""
        who = {"page": "the playground", "api": "the API"}.get(
            self.who, "one key or member" if self.who else ""
        )
        said = (
            ("Words", self.q),
            ("Status", dict(Prediction.Status.choices).get(self.status, "")),
            ("Model", self.model),
            ("Made by", who),
            ("When", dict(SPANS).get(self.when, "") if not self.since and not self.until else ""),
            ("From", self.since),
            ("To", self.until),
            ("Cost at least", f"${self.cost.removeprefix('$')}" if self.cost else ""),
            ("Shared by link", "yes" if self.shared else ""),
        )
        return [(what, which) for what, which in said if which]

    def query(self, **more: str) -> str:
        """The address's query; what is not asked for is left out."""
        names = {"since": "from", "until": "to"}
        own = {name: value for name, value in asdict(self).items() if value and not name.startswith("typed_")}
        values = {names.get(name, name): value for name, value in own.items()}
        return urlencode({**values, **more})

    def link(self, **more: str) -> str:
        return f"{reverse('history')}?{self.query(**more)}"

    def without(self, *names: str) -> Asked:
        return replace(self, **dict.fromkeys(names, ""))

    def filters(self, workspace: Workspace) -> Filters:
        """What the rooms below look for."""
        since, until = _day(self.since), _day(self.until)
        if since is None and until is None and self.when:
            today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
            since = today - timedelta(days=int(self.when) - 1)
        return Filters(
            text=self.q,
            status=self.status,
            model=self.model,
            via=self.who if self.who in Prediction.Via.values else "",
            key_id=_key(workspace, self.who),
            member_id=_member(self.who),
            since=since,
            until=until + timedelta(days=1) if until else None,
            cost_from=_micros(self.cost),
            shared=bool(self.shared),
        )


@dataclass(frozen=True, slots=True)
class Makers:
    """Who may have run something, for the list of choices: (value, words)."""

    keys: list[tuple[str, str]]
    people: list[tuple[str, str]]


def makers(workspace: Workspace) -> Makers:
    """The workspace's keys, newest first, and its members."""
    keys = ApiKey.objects.filter(workspace=workspace).order_by("-created_at")[:MAX_OFFERED]
    members = Membership.objects.filter(workspace=workspace).select_related("user").order_by("created_at")
    return Makers(
        keys=[(f"k_{key.key_id}", f"{key.name} ({key})") for key in keys],
        people=[
            (encode(one.user.public_id, "u"), one.user.get_short_name()) for one in members[:MAX_OFFERED]
        ],
    )


def _key(workspace: Workspace, who: str) -> int | None:
    if not who.startswith("k_"):
        return None
    found = ApiKey.objects.filter(workspace=workspace, key_id=who[2:]).values_list("pk", flat=True).first()
    return found or NOBODY


def _member(who: str) -> int | None:
    """A person's row, whoever they are: the runs they are looked for in are the workspace's own."""
    if not who.startswith("u_"):
        return None
    public_id = parse(who, "u")
    found = (
        User.objects.filter(public_id=public_id).values_list("pk", flat=True).first() if public_id else None
    )
    return found or NOBODY


def _day(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, datetime.min.time(), UTC) if 2000 <= day.year <= 9000 else None


def _micros(text: str) -> int | None:
    """An amount of dollars in micro-dollars; None for none and for what is no amount."""
    amount = number(text)
    if amount is None or not 0 < amount <= MAX_DOLLARS:
        return None
    return int(amount * MICROS) or None
