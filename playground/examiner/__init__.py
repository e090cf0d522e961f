"""What a file is, by its bytes: looked at in a process of its own that can do nothing but read it.

Pictures are decoded whole there. WAV, MP3, MP4, WebM and GLB have their structure walked, from the first box to the
last, but their samples are not decoded: nothing here could. Of safetensors the header is held against the bytes.
Everything else is not taken, pickles above all. The process has a limit of memory, of processor and of time, opens
nothing, and starts nothing; what it says is checked again. One is started for each file, in 80 ms: kept for the next, a
process that a file has taken over would lie about that one.
"""

from __future__ import annotations

from playground.examiner.parent import Busy, Found, examine, holes, look
from playground.examiner.sniffing import Refusal, agree, extension_of, is_taken, plain, sniff, taken

__all__ = [
    "Busy",
    "Found",
    "Refusal",
    "agree",
    "examine",
    "extension_of",
    "holes",
    "is_taken",
    "look",
    "plain",
    "sniff",
    "taken",
]
