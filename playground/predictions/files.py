"""The files of an input: checked when the run is taken in, put into it when a worker takes it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from marketplace import schema
from marketplace.ids import parse
from marketplace.models import ApiKey, Workspace
from playground import assets
from playground.models import Asset, Prediction

log = logging.getLogger(__name__)


def check_files(
    workspace: Workspace,
    described: schema.Schema,
    cleaned: Mapping[str, Any],
    *,
    key: ApiKey | None = None,
) -> None:
    """Raises InvalidInput for each asset that is not the workspace's own, has expired, or is of another type.

    To a publishable key, only what came out of its own runs is there.
    """
    errors: list[schema.FieldError] = []

    def check(path: str, value: str, types: tuple[str, ...]) -> str:
        asset = _asset(workspace.pk, value)
        if asset is not None and key is not None and key.is_publishable:
            asset = asset if asset.prediction is not None and asset.prediction.api_key_id == key.pk else None
        if asset is None and not value.startswith("data:"):
            message = "is no file of this workspace, or it has expired"
            errors.append(schema.FieldError(path, "not_found", message))
        elif asset is not None and not schema.takes(types, asset.media_type):
            message = f"must be {' or '.join(types)}, not {asset.media_type}"
            errors.append(schema.FieldError(path, "media_type", message, list(types)))
        return value

    schema.replace_files(described, cleaned, check)
    if errors:
        raise schema.InvalidInput(errors)


def own_file(workspace: Workspace, uid: str) -> Asset | None:
    """A stored file of the workspace that is still there."""
    return _asset(workspace.pk, uid)


def with_files(row: Prediction) -> dict[str, Any]:
    """The input of a run with the bytes of its files, as `data:` addresses: what a worker gets needs no storage.

    A file that was deleted since the run was taken in is still given, as long as it is there. One that is gone stays an
    id, which no model takes.
    """

    def fill(path: str, value: str, types: tuple[str, ...]) -> str:
        asset = _asset(row.workspace_id, value, with_deleted=True)
        if asset is None:
            return value
        try:
            data = assets.read(asset)
        except OSError as error:
            log.warning("%s: the file %s cannot be read: %s", row, value, error)
            return value
        return f"data:{asset.media_type};base64,{base64.b64encode(data).decode()}"

    return schema.replace_files(row.endpoint.input_schema, row.input, fill)


def _asset(workspace_id: int, value: str, *, with_deleted: bool = False) -> Asset | None:
    public_id = None if value.startswith("data:") else parse(value, "a")
    if public_id is None:
        return None
    rows = Asset.objects.filter(workspace_id=workspace_id, public_id=public_id, expires_at__gt=timezone.now())
    return (rows if with_deleted else rows.live()).first()
