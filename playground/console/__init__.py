"""What the operator sees and does: engines, lanes, faults, and the figures that a monitoring system collects."""

from __future__ import annotations

from playground.console.acts import ACTS, Gone, confirm, do
from playground.console.board import Board, board
from playground.console.metrics import exposition

__all__ = ["ACTS", "Board", "Gone", "board", "confirm", "do", "exposition"]
