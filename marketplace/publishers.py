"""Publishers: the public faces of workspaces. Opening one, renaming it, closing it and opening it again.

Hides which names can be had. A name is the first half of the addresses of models, in other people's programs too: it is
given out once, never changes once there is a model under it, and stays taken when its publisher is closed. Names that
look like one that is taken, or like a word of this site, cannot be had either.
"""

from __future__ import annotations

import re
from datetime import datetime

from django.db import IntegrityError, connection, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Replace
from django.utils import timezone

from marketplace import catalog, people
from marketplace.models import Publisher, User, Workspace
from marketplace.schema import FieldError, FieldErrors

NAME_LENGTH, TITLE_LENGTH = 39, 80
NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9])+")
# What addresses of publishers' pages have in the place of a name; a test walks the URL map.
_PAGES = "close earnings models payouts prices reopen runs settings statements"
# Words that would speak for the house.
_OFFICIAL = """
billing community help house moderator official operator payments publisher publishers replicate root security system
team trusted verified
"""
HOUSE = "vitrine"  # no name has it inside: what is called vitrine-payments would be taken for the house, too
RESERVED = people.workspaces.RESERVED | frozenset(f"{HOUSE} {_PAGES} {_OFFICIAL}".split())
# What one reads for the other, in print or at a glance: the hyphen for nothing, digits and letters for one another.
_ALIKE = ("015i28", "olslzb")
_PAIRS = (("rn", "m"), ("vv", "w"))
_DELETED = "This workspace was deleted."


class Invalid(FieldErrors):
    """What is wished for a publisher cannot be; `errors` lists all that is wrong, by field."""


class Refused(Exception):
    """It cannot be done; the message says why, and what can."""


class NotFound(LookupError):
    """The workspace has no such publisher. The same for one of somebody else and one that never was."""


def likeness(name: str) -> str:
    """What a name looks like: two names that people may take for each other have the same likeness."""
    text = name.replace("-", "").translate(str.maketrans(*_ALIKE))
    for pair, single in _PAIRS:
        text = text.replace(pair, single)
    return text


_RESERVED_LIKENESSES = frozenset(map(likeness, RESERVED))


def of(workspace: Workspace) -> models.QuerySet[Publisher]:
    """The publishers of a workspace, also closed ones, the oldest first. Most have one or none."""
    return Publisher.objects.filter(workspace=workspace).select_related("workspace").order_by("pk")


def find(workspace: Workspace, name: str) -> Publisher:
    """One of them. Raises NotFound."""
    row = of(workspace).filter(name=name).first() if NAME.fullmatch(name) else None
    if row is None:
        raise NotFound(f"This workspace has no publisher {name[:NAME_LENGTH]!r}.")
    return row


def found(
    workspace: Workspace,
    *,
    name: str,
    title: str = "",
    agreed: bool,
    by: User | None,
    now: datetime | None = None,
) -> Publisher:
    """Make the workspace a publisher under `name`, with the usual share; `by` agrees to the terms.

    Of many who want a name at once one gets it. Raises Invalid, and Refused for a workspace that has one already or is
    closed. Whether `by` may is for the caller to ask.
    """
    title = _title(title)
    errors = _wrong(name, title)
    if not agreed:
        errors.append(FieldError("terms", "required", "must be agreed to"))
    if errors:
        raise Invalid(errors)
    at = now or timezone.now()
    try:
        with transaction.atomic():
            row = people.locked(workspace.pk)
            known = of(row).first()
            if known is not None:
                raise Refused(_one_is_enough(known))
            _keep_names_still()
            _refuse_taken(name)
            return Publisher.objects.create(
                workspace=row, name=name, title=title, created_at=at, agreed_at=at, agreed_by=by
            )
    except people.NoSuchMember:
        raise Refused(_DELETED) from None
    except IntegrityError:  # made past us, by the operator's hand
        raise Invalid([_taken(name)]) from None


def change(publisher: Publisher, *, name: str | None = None, title: str | None = None) -> Publisher:
    """Give it another name or title; what is not given stays. The title is free, the name only before the first model.

    Raises Invalid, and Refused for the name of one that has models.
    """
    with transaction.atomic():
        _keep_names_still()
        row = Publisher.objects.select_for_update(no_key=True).get(pk=publisher.pk)
        new_name = row.name if name is None else name
        new_title = row.title if title is None else _title(title)
        is_renamed = new_name != row.name
        errors = _wrong(new_name, new_title) if is_renamed else _wrong_title(new_title)
        if errors:
            raise Invalid(errors)
        if is_renamed:
            if row.listings.exists():
                raise Refused(
                    f"{row.name} has models, whose addresses others use in their programs: its name stays. "
                    "The display name can be changed."
                )
            _refuse_taken(new_name, but=row)
        row.name, row.title = new_name, new_title
        row.save(update_fields=["name", "title"])
        transaction.on_commit(catalog.forget)
    return row


def close(publisher: Publisher, *, now: datetime | None = None) -> bool:
    """Take all its models off the shelf, and sell nothing more. Whether that is news.

    Runs that were accepted go on. What it earned matures and is paid as before, and its name stays taken.
    """
    with transaction.atomic():
        row = Publisher.objects.select_for_update(no_key=True).get(pk=publisher.pk)
        if row.is_closed:
            return False
        row.closed_at = now or timezone.now()
        row.save(update_fields=["closed_at"])
        catalog.take_down(row)
    return True


def reopen(publisher: Publisher) -> bool:
    """Let it publish again; its models stay private until they are put back. Whether that is news.

    Raises Refused for one whose workspace was deleted, also while this is under way.
    """
    try:
        with transaction.atomic():
            people.locked(publisher.workspace_id)
            closed = Publisher.objects.filter(pk=publisher.pk, closed_at__isnull=False)
            return bool(closed.update(closed_at=None))
    except people.NoSuchMember:
        raise Refused(_DELETED) from None


def can_be_renamed(publisher: Publisher) -> bool:
    """Whether nothing is published under its name yet."""
    return not publisher.listings.exists()


def _one_is_enough(known: Publisher) -> str:
    if known.is_closed:
        return f"This workspace published as {known.name}, which is closed: open it again."
    return f"This workspace publishes as {known.name} already. For another name, make another workspace."


def _title(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _wrong(name: str, title: str) -> list[FieldError]:
    errors = []
    if len(name) > NAME_LENGTH or not NAME.fullmatch(name):
        said = f"must be 2 to {NAME_LENGTH} lower-case letters and digits of English, with single hyphens between them"
        errors.append(FieldError("name", "pattern", said))
    elif (alike := likeness(name)) in _RESERVED_LIKENESSES or likeness(HOUSE) in alike:
        errors.append(
            FieldError("name", "not_allowed", "is, or looks like, a word that this site keeps for itself")
        )
    return errors + _wrong_title(title)


def _wrong_title(title: str) -> list[FieldError]:
    if len(title) > TITLE_LENGTH:
        return [FieldError("title", "too_long", f"has at most {TITLE_LENGTH} characters", TITLE_LENGTH)]
    return []


def _keep_names_still() -> None:
    """Until the commit nobody else is given a name: names that only look alike are no conflict to the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('vitrine publisher names'))")


class _Translate(models.Func):
    function = "translate"
    output_field = models.CharField()


def _refuse_taken(name: str, *, but: Publisher | None = None) -> None:
    alike: models.Func = _Translate(Replace(F("name"), Value("-"), Value("")), *map(Value, _ALIKE))
    for pair, single in _PAIRS:
        alike = Replace(alike, Value(pair), Value(single))
    rows = Publisher.objects.alias(alike=alike).filter(alike=likeness(name))
    known = (rows if but is None else rows.exclude(pk=but.pk)).first()
    if known is not None:
        raise Invalid([_taken(name, known.name)])


def _taken(name: str, known: str = "") -> FieldError:
    said = "is taken" if known in ("", name) else f"looks like {known}, which is taken"
    return FieldError("name", "taken", said)
