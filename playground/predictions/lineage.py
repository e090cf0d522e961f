"""What a run was made from, and what was made of it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from marketplace import schema
from marketplace.ids import parse
from playground.models import Asset, Prediction, Source

MAX_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Kin:
    """One neighbour of a run: the run itself, or the file alone where no run made it. Both may be gone by now."""

    path: str
    run: Prediction | None
    asset: Asset | None


def note_sources(row: Prediction) -> None:
    """Remember the stored files in the row's input, in the transaction that makes the row. Safe to repeat."""
    found: dict[str, UUID] = {}

    def see(path: str, value: str, types: tuple[str, ...]) -> str:
        public_id = None if value.startswith("data:") else parse(value, "a")
        if public_id is not None:
            found[path[:200]] = public_id
        return value

    schema.replace_files(row.endpoint.input_schema, row.input, see)
    if not found:
        return
    own = Asset.objects.filter(workspace_id=row.workspace_id, public_id__in=set(found.values()))
    known = {asset.public_id: asset for asset in own}
    sources = [
        Source(prediction=row, path=path, asset=known[number], made_by_id=known[number].prediction_id)
        for path, number in found.items()
        if number in known
    ]
    Source.objects.bulk_create(sources, ignore_conflicts=True)


def made_from(row: Prediction) -> list[Kin]:
    """What the run's input names, in the order of its fields. What was deleted is not shown."""
    sources = row.sources.select_related("asset", "made_by").order_by("pk")[:MAX_SHOWN]
    kin = [Kin(one.path, _kept(one.made_by), _live(one.asset)) for one in sources]
    return [one for one in kin if one.run or one.asset]


def made_of(row: Prediction) -> list[Prediction]:
    """The newest runs that took a file of this one, with their media."""
    taken = Source.objects.filter(made_by=row).values("prediction")
    found = Prediction.objects.kept().filter(workspace_id=row.workspace_id, pk__in=taken)
    return list(found.prefetch_related("assets").order_by("-pk")[:MAX_SHOWN])


def _kept(run: Prediction | None) -> Prediction | None:
    return run if run is not None and run.deletion_id is None else None


def _live(asset: Asset | None) -> Asset | None:
    return asset if asset is not None and asset.deletion_id is None else None
