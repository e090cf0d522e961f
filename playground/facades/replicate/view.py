"""What all addresses of Replicate's protocol share."""

from __future__ import annotations

from playground.facades.dialect import origin_of
from playground.facades.replicate.dialect import DIALECT
from playground.facades.view import FacadeView


class ReplicateView(FacadeView):
    """One address under `/v1`."""

    dialect = DIALECT

    @property
    def base(self) -> str:
        """What addresses in answers begin with: scheme and host as the caller used them."""
        return origin_of(self.scope)
