"""How much memory this process has used at most."""

from __future__ import annotations

import sys


def peak_of_process() -> int:
    """Return the largest resident size of this process so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB
