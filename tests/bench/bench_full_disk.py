"""A disk that fills up in the middle of a training. `python tests/bench/bench_full_disk.py [--backend peft]`.

The work folder lies on a real file system of 48 MB (tmpfs: Linux, as root or where user namespaces are allowed).
Another program fills it: once so that the next checkpoint would not fit, once to the last byte. Training must stop with
`DiskFull`, its best checkpoint must be what its manifest says, and after space has returned the same call must give the
bytes of a run that was never stopped.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from short_run import short_run

from lunar_tune.errors import DiskFull
from lunar_tune.files import free_bytes
from lunar_tune.identity import file_sha256
from lunar_tune.train.adapter import WEIGHTS
from lunar_tune.train.process import supervise

SIZE = 48 * 2**20
STEPS, EVERY = 60, 20  # the record of 20 steps is longer than a page, so that a full disk is met between checkpoints


def fill(folder: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes free."""
    ballast = folder / "ballast"
    with ballast.open("wb") as handle:
        while (left := free_bytes(folder) - leave) > 0:
            handle.write(b"\0" * min(left, 2**16))
            handle.flush()
    return ballast


def honest(work: Path) -> list[str]:
    """Return the names of the checkpoints that are what their manifests say; raise at one that is not."""
    found = []
    for manifest in sorted(work.glob("checkpoints/step-*/manifest.json")):
        for name, facts in json.loads(manifest.read_text())["files"].items():
            assert file_sha256(manifest.parent / name) == facts["sha256"], f"{manifest.parent / name} is damaged"
        found.append(manifest.parent.name)
    return found


def stopped(backend: str, disk: Path, leave: int, expected: str) -> bool:
    work = disk / "work"
    spec = short_run(backend, work, max_steps=STEPS, evaluate_every=EVERY, save_every=EVERY)
    ballast: list[Path] = []

    def watch(event) -> None:
        if event.kind == "checkpoint" and event.step == EVERY and not ballast:
            ballast.append(fill(disk, leave))

    try:
        supervise(spec, watch)
    except DiskFull as error:
        print(f"  stopped: {error.message}\n           {error.hint}")
    else:
        print("  NOT stopped")
        return False
    kept = honest(work)
    print(f"  intact: {', '.join(kept)}; half-written: {len(list(work.glob('checkpoints/.writing-*')))}")
    ballast[0].unlink()
    adapter = supervise(spec, lambda event: None)
    digest = file_sha256(adapter.path / WEIGHTS)
    print(f"  space back, resumed: adapter {'equal' if digest == expected else 'DIFFERENT'} ({digest[:16]})")
    return bool(kept) and digest == expected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="peft")
    backend = parser.parse_args().backend
    if os.geteuid() != 0:
        return subprocess.run(["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv]).returncode
    os.environ["OMP_NUM_THREADS"] = "1"
    good = 0
    with tempfile.TemporaryDirectory() as folder:
        spec = short_run(backend, Path(folder) / "work", max_steps=STEPS, evaluate_every=EVERY, save_every=EVERY)
        expected = file_sha256(supervise(spec, lambda event: None).path / WEIGHTS)
        print(f"{backend}: never stopped, {STEPS} steps, adapter {expected[:16]}", flush=True)
        for leave in (8 * 2**20, 0):
            disk = Path(folder) / f"disk-{leave}"
            disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
            try:
                print(f"a disk of {SIZE >> 20} MiB, filled at step {EVERY} to {leave >> 20} MiB free", flush=True)
                good += stopped(backend, disk, leave, expected)
            finally:
                subprocess.run(["umount", str(disk)], check=True)
    print(f"{good} of 2 as wanted")
    return 2 - good


if __name__ == "__main__":
    sys.exit(main())
