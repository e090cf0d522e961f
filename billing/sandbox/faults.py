"""What goes wrong on demand: the next requests of a kind are refused, hang, or lose their answer."""

from __future__ import annotations

from django.db.models import F, Q

from billing.sandbox.models import Fault

LONGEST_SECONDS, MOST = 120.0, 1000


class InvalidFault(Exception):
    """There is no such fault."""


def plan(kind: str, *, verb: str = "*", path: str = "*", times: int = 1, seconds: float = 0) -> Fault:
    """Let the next `times` requests go wrong. `path` is as the library writes it, names in braces. Raises
    InvalidFault."""
    if kind not in Fault.Kind.values:
        raise InvalidFault(f"a fault is one of {', '.join(Fault.Kind.values)}")
    if verb not in {"get", "post", "delete", "*"}:
        raise InvalidFault("the verb is get, post, delete or *")
    if "\0" in path:  # the database would not have it
        raise InvalidFault("no path has a null character")
    if not 0 < times <= MOST or not 0 <= seconds <= LONGEST_SECONDS:
        raise InvalidFault(
            f"a fault is for 1 to {MOST} requests, and hangs for {LONGEST_SECONDS:.0f} s at most"
        )
    return Fault.objects.create(verb=verb, path=path[:200], kind=kind, left=times, seconds=seconds)


def planned() -> list[Fault]:
    """What is still to go wrong, the oldest first."""
    return list(Fault.objects.order_by("pk"))


def forget(number: int | None = None) -> None:
    """Take back one, or all of them."""
    rows = Fault.objects.all() if number is None else Fault.objects.filter(pk=number)
    rows.delete()


def take(verb: str, path: str) -> Fault | None:
    """The fault that this request has, which is then one less; None if it has none."""
    found = (
        Fault.objects.filter(Q(verb=verb) | Q(verb="*"), Q(path=path) | Q(path="*")).order_by("pk").first()
    )
    if found is None:
        return None
    if not Fault.objects.filter(pk=found.pk, left__gt=1).update(left=F("left") - 1):
        taken, _ = Fault.objects.filter(pk=found.pk).delete()
        if not taken:  # another request took it
            return take(verb, path)
    return found
