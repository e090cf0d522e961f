"""The device and torch on it: the one place where torch is brought up, counted and cleaned.

Hides the environment that must be set before the import, thread counts, precision, and what memory means where.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import resource
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from workers.engine import spinning
from workers.engine.contract import EngineError

if TYPE_CHECKING:
    import torch

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_started: Machine | None = None
_spinning: spinning.Spinning | None = None
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the tensors live: `device` as torch names it, CPU `threads`, bytes of its whole memory."""

    device: str
    threads: int
    memory_bytes: int

    def dtype(self, name: str) -> torch.dtype:
        """The precision called `name`; `auto` is bfloat16 on a GPU and float32 on a CPU. Raises EngineError."""
        import torch

        if name == "auto":
            return torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
        if name not in known:
            raise EngineError(f"“{name}” is no precision; use auto, {', '.join(known)}.", code="bad_weights")
        return known[name]

    @property
    def budget_bytes(self) -> int:
        """How much of its memory resident models may take where nobody says otherwise."""
        return self.memory_bytes // 10 * (9 if self.device != "cpu" else 5)

    def synchronize(self) -> None:
        """Waits for the device, so that a clock read next tells the truth."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()

    def look_around(self) -> None:
        """Fits how the threads of an operation wait for each other to what else runs here. Costs next to nothing."""
        if _spinning is not None:
            _spinning.look(self.threads_now)

    @property
    def threads_now(self) -> int:
        """How many of `threads` torch has now: fewer where other engines compute on the same cores."""
        import torch

        return torch.get_num_threads()

    def reset_peak(self) -> None:
        """Starts a new measurement of peak memory, where the device or the kernel can."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):
                _CLEAR_REFS.write_text("5")  # see proc(5): the peak of the resident set is that of now

    def peak_bytes(self) -> int:
        """Highest memory since `reset_peak`: of the tensors on a GPU, of the process on a CPU.

        Where the kernel has no way to begin anew, since the start of the process.
        """
        if self.device.startswith("cuda"):
            import torch

            return int(torch.cuda.max_memory_allocated())
        unit = 1 if sys.platform == "darwin" else 1024
        return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status_bytes(name: str) -> int:
    """One of the kernel's figures about this process, in bytes; 0 where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def start(device: str, threads: int | None) -> Machine:
    """Imports torch and sets it up for this process, once; later calls give the same machine."""
    global _started
    with _lock:
        if _started is None:
            _started = _bring_up(device, threads or os.cpu_count() or 1)
        return _started


def set_environment() -> None:
    """What the libraries read when they are imported: no hub, no telemetry. Call before anything imports torch."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[name] = "1"
    os.environ.setdefault("GOMP_SPINCOUNT", str(spinning.AWAKE if spinning.can_tell() else 0))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _bring_up(device: str, threads: int) -> Machine:
    set_environment()
    import torch

    torch.set_num_threads(threads)
    chosen = device
    if device == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    if chosen.startswith("cuda"):
        if not torch.cuda.is_available():
            raise EngineError("This machine has no CUDA device.", code="engine_failed")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        memory = int(torch.cuda.get_device_properties(chosen).total_memory)
    else:
        global _spinning
        _spinning = spinning.Spinning() if spinning.can_tell() else None
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(device=chosen, threads=threads, memory_bytes=memory)


def default_budget_bytes() -> int:
    """`Machine.budget_bytes` of this process's machine; 0 before it was started."""
    return _started.budget_bytes if _started is not None else 0


def used_bytes() -> int:
    """Memory that is taken now: of the GPU by this process where there is one, with what torch keeps for its next
    tensors; else of this process. Never imports torch."""
    if _started is not None and _started.device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_reserved())
    return _status_bytes("VmRSS")


def release_memory() -> None:
    """Gives freed tensors back to the device. Costs tenths of a second: only after an eviction, never per job."""
    gc.collect()
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is any of the ways in which Python and torch say that memory is exhausted."""
    if isinstance(error, MemoryError):
        return True
    name = type(error).__name__
    text = str(error)
    return name == "OutOfMemoryError" or "not enough memory" in text or "CUDA out of memory" in text


@cache
def versions() -> dict[str, str]:
    """Versions of everything that can change a pixel."""
    names = ("torch", "diffusers", "transformers", "pillow", "numpy")
    return {name: importlib.metadata.version(name) for name in names}
