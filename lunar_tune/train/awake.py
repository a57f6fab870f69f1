"""Keeping the machine awake while something long runs, with what the system brings: macOS's caffeinate, systemd's
inhibitor.

The display may sleep, and should: with it on, macOS's watchdog ends processes that keep the GPU busy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

_PATIENCE = 5.0  # seconds for the program to end


def awake_command(platform: str, process: int) -> list[str]:
    """Return the command that keeps a machine awake while it runs; empty where there is none.

    caffeinate ends with `process`; systemd-inhibit with its child, which ends when its standard input does.
    """
    if platform == "darwin" and shutil.which("caffeinate"):
        return ["caffeinate", "-i", "-s", "-w", str(process)]
    if platform == "linux" and shutil.which("systemd-inhibit"):
        why = ["--what=idle:sleep", "--who=lunar-tune", "--why=training a model", "--mode=block"]
        return ["systemd-inhibit", *why, "cat"]
    return []


@contextlib.contextmanager
def kept_awake() -> Iterator[None]:
    """Keep the machine awake for as long as the block runs and this process lives, killed or not.

    A system that does not allow it is left as it is.
    """
    command, holder = awake_command(sys.platform, os.getpid()), None
    if command:
        quiet = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        if holder is not None:
            _end(holder)


def _end(holder: subprocess.Popen[bytes]) -> None:
    assert holder.stdin is not None
    with contextlib.suppress(OSError):
        holder.stdin.close()
    holder.terminate()
    try:
        holder.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        holder.kill()
        holder.wait()
