"""kill -9 at ten random moments of a short night, each followed by a plain re-run. `python tests/bench/bench_kill.py`.

Every killed night runs in a fresh workspace; its re-run must end with an outcome, its adapter must be byte-equal to
that of the uninterrupted night, and no artefact directory may ever be without its manifest's files.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lunar_tune.files import MANIFEST
from lunar_tune.identity import file_sha256

ROOT = Path(__file__).parents[2]
SHORT = (
    "train.threads=1", "train.max_steps=24", "train.save_every=5", "train.evaluate_every=12", "train.batch=2",
    "evaluate.turns=30", "evaluate.max_tokens=48", "evaluate.threads=1", "dataset.test=0.1",
)  # fmt: skip


def night(home: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lunar_tune", "--home", str(home), "--config", str(ROOT / "fixtures/demo.toml")]
    command += [word for value in SHORT for word in ("--set", value)] + ["nightly", "--json", str(log)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def half_artefacts(home: Path) -> list[str]:
    """Return what would be a lie: a finished directory whose files are not what its manifest says."""
    found = []
    for manifest in home.glob(f"*/*/{MANIFEST}"):
        if manifest.parts[-3] == "work":
            continue
        listed = json.loads(manifest.read_text())["files"]
        found += [
            str(manifest.parent)
            for name, facts in listed.items()
            if file_sha256(manifest.parent / name) != facts["sha256"]
        ]
    return found


def finish(home: Path, log: Path) -> tuple[dict[str, object], str]:
    child = night(home, log)
    out, _ = child.communicate()
    adapters = list(home.glob("runs/*/adapter/adapter_model.safetensors"))
    return json.loads(out), file_sha256(adapters[0]) if len(adapters) == 1 else f"{len(adapters)} adapters"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "logs.db"
        db = sqlite3.connect(log)
        db.executescript((ROOT / "fixtures/lunar_logs.sql").read_text(encoding="utf-8"))
        db.close()
        began = time.monotonic()
        outcome, expected = finish(Path(folder) / "whole", log)
        length = time.monotonic() - began
        print(f"uninterrupted: {outcome['outcome']} in {length:.0f} s, adapter {expected[:16]}")
        wrong = 0
        chance = random.Random(2)
        for number in range(1, 11):
            home, moment = Path(folder) / f"killed-{number}", chance.uniform(0.3, length)
            child = night(home, log)
            time.sleep(moment)
            child.send_signal(signal.SIGKILL)
            child.wait()
            broken = half_artefacts(home)
            there = sorted({path.parts[-3] for path in home.glob(f"*/*/{MANIFEST}")})
            outcome, adapter = finish(home, log)
            good = adapter == expected and not broken and not half_artefacts(home)
            wrong += not good
            same = "equal" if adapter == expected else adapter
            done = ", ".join(there) or "nothing"
            print(f"killed at {moment:5.1f} s (finished: {done}): then {outcome['outcome']}, adapter {same}, ", end="")
            print(f"{len(broken)} half artefacts")
    print(f"{10 - wrong} of 10 as wanted")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
