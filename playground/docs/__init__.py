"""The documentation: one page made from the OpenAPI document and guides, and the same in plain text for programs."""

from __future__ import annotations

from playground.docs.page import docs
from playground.docs.text import llms, llms_full

__all__ = ["docs", "llms", "llms_full"]
