"""How much memory this process has used at most, giving free memory back, and how a library says there is no more."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

from lunar_tune.errors import OutOfMemory

# torch on a CPU; Metal's buffers and its command queue, by MLX and by torch; CUDA's libraries below torch
SAID = (
    "can't allocate memory",
    "[metal::malloc]",
    "[malloc]",
    "Insufficient Memory",
    "kIOGPUCommandBufferCallbackErrorOutOfMemory",
    "MPS backend out of memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)

_MUCH = 1 << 28


class _Heap(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "free", "keepcost")),
    ]


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every library's way of saying so into `OutOfMemory`."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory("Training ran out of memory.") from error
    except RuntimeError as error:  # torch.OutOfMemoryError is one, and MLX has no class of its own
        if type(error).__name__ == "OutOfMemoryError" or any(sign in str(error) for sign in SAID):
            raise OutOfMemory("Training ran out of memory.") from error
        raise


def give_back() -> None:
    """Give what is free within the heap back to the system, where the C library is glibc and it is much.

    Tensors of a few MB that come and go between longer-lived ones leave holes: a third of what a forward pass of a 3B's
    width had taken, measured on its 4-layer slice. Taking it again costs time too, hence the least amount.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # another C library, or glibc before 2.33
        library.mallinfo2.restype = _Heap
        if library.mallinfo2().free > _MUCH:
            library.malloc_trim(0)


def peak_of_process() -> int:
    """Return the largest resident size of this process so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB
