"""Payers and makers for the tests of the money."""

from __future__ import annotations

from itertools import count

from billing import ledger
from marketplace.models import Publisher, Workspace

_numbers = count(1)


def new_workspace(*, granted: int = 0, bought: int = 0) -> Workspace:
    number = next(_numbers)
    workspace = Workspace.objects.create(slug=f"payer-{number}", name=f"Payer {number}")
    if granted:
        ledger.credit(workspace.pk, granted, key=f"promo:start-{workspace.pk}")
    if bought:
        ledger.credit(workspace.pk, bought, source="bought", key=f"topup:start-{workspace.pk}")
    return workspace


def new_publisher(workspace: Workspace | None = None) -> Publisher:
    return Publisher.objects.create(workspace=workspace or new_workspace(), name=f"maker-{next(_numbers)}")


USAGE = ledger.Usage(model="maker/vase", status="succeeded", quote={"amount_micros": 1}, units={"image": 1})
