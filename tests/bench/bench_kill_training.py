"""kill -9 at twenty random moments of a 30-step training in each backend, each followed by a plain re-run.

`python tests/bench/bench_kill_training.py [--backends peft mlx] [--kills 20]`. A quarter of the kills are aimed at
the writing of a checkpoint; the others strike at a random place inside a random step. The re-run's adapter must be
byte-equal to the uninterrupted run's, its record must hold every step once, and no checkpoint may be damaged.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from short_run import STEPS, short_run

from lunar_tune.files import MANIFEST
from lunar_tune.identity import file_sha256
from lunar_tune.train.adapter import WEIGHTS
from lunar_tune.train.process import child_environment, write_spec


def child(spec_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lunar_tune.train.process", str(spec_path)]
    environment = {**child_environment(spec_path.parent), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)


def whole(spec_path: Path) -> tuple[str, list[float], int]:
    """Train to the end; return the adapter's digest, the seconds between steps, and where it was resumed."""
    with child(spec_path) as process:
        times, resumed = [], 0
        for line in process.stdout:
            event = json.loads(line)
            if event.get("kind") == "start":
                resumed = event["step"]
            if event.get("kind") == "step":
                times.append(time.monotonic())
        process.wait()
    path = spec_path.parent / "adapter" / WEIGHTS
    digest = file_sha256(path) if process.returncode == 0 and path.is_file() else f"status {process.returncode}"
    return digest, [after - before for before, after in pairwise(times)], resumed


def kill_in_step(spec_path: Path, step: int, wait: float) -> str:
    """Kill so many seconds after step `step - 1` ended."""
    with child(spec_path) as process:
        for line in process.stdout:
            if (event := json.loads(line)).get("kind") in ("start", "step") and event["step"] >= step - 1:
                break
        time.sleep(wait)
        process.kill()
    return f"in step {step}, {wait * 1000:4.0f} ms after the step before"


def kill_in_write(spec_path: Path, step: int, wait: float) -> str:
    """Kill while the first checkpoint from step `step` on is being written."""
    folder = spec_path.parent / "checkpoints"
    with child(spec_path) as process:
        for line in process.stdout:
            if (event := json.loads(line)).get("kind") == "step" and event["step"] >= step:
                break
        while process.poll() is None and not list(folder.glob(".writing-*")):
            pass
        time.sleep(wait)
        process.kill()
    left = [path.name for found in folder.glob(".writing-*") for path in found.iterdir()]
    return f"in the checkpoint after step {step}, which had {len(left)} files" if left else "just after a checkpoint"


def honest(work: Path) -> bool:
    """Tell whether every checkpoint with a manifest is what the manifest says."""
    manifests = [(path.parent, json.loads(path.read_text())) for path in work.glob(f"checkpoints/step-*/{MANIFEST}")]
    return all(
        file_sha256(folder / name) == facts["sha256"]
        for folder, manifest in manifests
        for name, facts in manifest["files"].items()
    )


def steps_of(work: Path) -> list[int]:
    lines = [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "step"]


def try_backend(backend: str, kills: int, folder: Path) -> int:
    expected, paces, _ = whole(write_spec(short_run(backend, folder / "whole")))
    pace = sorted(paces)[len(paces) // 2]
    print(f"{backend}: uninterrupted, {STEPS} steps of {pace * 1000:.0f} ms, adapter {expected[:16]}", flush=True)
    chance, good = random.Random(5), 0
    for number in range(kills):
        work = folder / f"killed-{number}"
        spec_path = write_spec(short_run(backend, work))
        if number % 4 == 3:
            where = kill_in_write(spec_path, chance.randint(1, STEPS - 4), chance.uniform(0, 0.004))
        else:
            where = kill_in_step(spec_path, chance.randint(1, STEPS), chance.uniform(0, pace))
        sound = honest(work)
        digest, _, resumed = whole(spec_path)
        once = steps_of(work) == list(range(1, STEPS + 1))
        well = digest == expected and sound and once and honest(work)
        good += well
        said = "equal" if digest == expected else f"DIFFERENT ({digest[:16]})"
        record = "every step once" if once else "a record with gaps or repeats"
        broken = "" if sound else ", a damaged checkpoint"
        print(f"  killed {where}; resumed from {resumed}: adapter {said}, {record}{broken}", flush=True)
    print(f"{backend}: {good} of {kills} byte-equal after kill -9 and resume", flush=True)
    return kills - good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["peft", "mlx"])
    parser.add_argument("--kills", type=int, default=20)
    asked = parser.parse_args()
    wrong = 0
    for backend in asked.backends:
        with tempfile.TemporaryDirectory() as folder:
            wrong += try_backend(backend, asked.kills, Path(folder))
    return wrong


if __name__ == "__main__":
    sys.exit(main())
