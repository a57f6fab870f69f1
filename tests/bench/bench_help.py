"""Median wall time of `lunar-tune --help`. `python tests/bench/bench_help.py`."""

import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    program = Path(sys.executable).with_name("lunar-tune")
    times = []
    for _ in range(25):
        began = time.perf_counter()
        subprocess.run([program, "--help"], check=True, capture_output=True)
        times.append(1000 * (time.perf_counter() - began))
    print(f"lunar-tune --help: median {statistics.median(times[3:]):.0f} ms, least {min(times):.0f} ms")


if __name__ == "__main__":
    main()
