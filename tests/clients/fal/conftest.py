"""Ada, Mal and a vase, as the edge's own tests have them."""

from __future__ import annotations

from tests.edge.conftest import world  # noqa: F401 - a fixture
