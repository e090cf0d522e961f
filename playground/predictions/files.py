"""The files of an input: checked when the run is taken in, put into it when a worker takes it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

from marketplace import schema
from marketplace.ids import parse
from marketplace.models import Workspace
from playground import assets
from playground.models import Asset, Prediction

log = logging.getLogger(__name__)


def check_files(workspace: Workspace, described: schema.Schema, cleaned: Mapping[str, Any]) -> None:
    """Raises InvalidInput for each asset that is not the workspace's own, has expired, or is of another type."""
    errors: list[schema.FieldError] = []

    def check(path: str, value: str, types: tuple[str, ...]) -> str:
        asset = _asset(workspace.pk, value)
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

    A file that is gone by now stays an id, which no model takes.
    """

    def fill(path: str, value: str, types: tuple[str, ...]) -> str:
        asset = _asset(row.workspace_id, value)
        if asset is None:
            return value
        try:
            data = assets.read(asset)
        except OSError as error:
            log.warning("%s: the file %s cannot be read: %s", row, value, error)
            return value
        return f"data:{asset.media_type};base64,{base64.b64encode(data).decode()}"

    return schema.replace_files(row.endpoint.input_schema, row.input, fill)


def _asset(workspace_id: int, value: str) -> Asset | None:
    public_id = None if value.startswith("data:") else parse(value, "a")
    if public_id is None:
        return None
    return Asset.objects.live().filter(workspace_id=workspace_id, public_id=public_id).first()
