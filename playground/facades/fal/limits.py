"""The bounds of a realtime connection, for who opens one and who describes it."""

from __future__ import annotations

BUFFER_LEAST, BUFFER_MOST, BUFFER_USUAL = 1, 60, 60  # messages that wait
BUFFER_BYTES = 32 * 2**20  # that they have together
AT_ONCE = 4  # of a connection that leaves none out
IDLE_SECONDS = 60.0  # without a message, after which the connection is closed
MESSAGE_BYTES = 16 * 2**20  # a picture of 12 MiB as text
WAITING_BYTES = 32 * 2**20  # of what came and was not looked at yet: no more is read then
