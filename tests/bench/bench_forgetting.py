"""What is learnt and what is lost, by recipe: `python tests/bench/bench_forgetting.py`; about four minutes a line.

The nano base learns the fixture's agent with each preset, with and without rehearsal, from several seeds; every adapter
is exported to Q8_0 and judged on held-out calls and on the probes as a night would. A line is a mean over the seeds,
with the least and the largest. Presets are made for a base of 3B: nano's 2.8M parameters need rates many times higher,
so `--rate` multiplies each preset's own.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lunar_tune.presets import preset_values

ROOT = Path(__file__).parents[2]
CONFIG = """
[train]
base = "{base}"
[dataset]
window = 2048
[export]
quant = "Q8_0"
[evaluate]
max_tokens = 96
[deploy]
registry = "local"
"""


class Bench:
    """A workspace whose dataset all recipes share."""

    def __init__(self, home: Path, given: argparse.Namespace) -> None:
        self.home, self.threads, self.turns, self.rate = home, given.threads, given.turns, given.rate
        self.steps = given.steps
        home.mkdir(parents=True, exist_ok=True)
        (home / "bench.toml").write_text(CONFIG.format(base=ROOT / "fixtures/nano"))
        log = home / "logs.db"
        if not log.exists():
            db = sqlite3.connect(log)
            db.executescript((ROOT / "fixtures/lunar_logs.sql").read_text(encoding="utf-8"))
            db.close()
        self.call("harvest", str(log))

    def call(self, command: str, *arguments: str, sets: Sequence[str] = ()) -> dict[str, Any]:
        sets = [*sets, f"train.threads={self.threads}", f"evaluate.threads={self.threads}"]
        sets += [f"evaluate.turns={self.turns}", f"train.max_steps={self.steps}"]
        line = [sys.executable, "-m", "lunar_tune", "--home", str(self.home / "home")]
        line += ["--config", str(self.home / "bench.toml")]
        line += [word for value in sets for word in ("--set", value)] + [command, *arguments, "--json"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        done = subprocess.run(line, capture_output=True, text=True, env=environment)
        if done.returncode not in (0, 3):
            raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr}")
        return dict(json.loads(done.stdout))

    def figures(self, preset: str, rehearsal: float, seed: int) -> dict[str, float]:
        """Return one adapter's figures; a run that was made before is only read."""
        rate = preset_values(preset)["learning_rate"] * self.rate
        sets = [f"train.preset={preset}", f"train.learning_rate={rate:g}", f"train.rehearsal={rehearsal}"]
        sets.append(f"train.seed={seed}")
        run = self.call("train", sets=sets)
        model = self.call("export", "--run", run["run"], sets=sets)
        judged = self.call("evaluate", model["version"], sets=sets)
        base, tuned = judged["arms"]["base"], judged["arms"]["tuned"]
        events = [json.loads(line) for line in (Path(run["path"]) / "metrics.jsonl").read_text().splitlines()]
        last = [event for event in events if event["kind"] == "valid" and event["step"] == run["best_step"]][-1]
        return {
            "calls": 100 * (tuned["tool_call_accuracy"] - base["tool_call_accuracy"]),
            "nll": tuned["nll"] - base["nll"],
            "probes": 100 * (tuned["probes"] - base["probes"]),
            "kl_new": last["kl_new"],
            "kl_old": last.get("kl_old", float("nan")),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["gentle", "bold"])
    parser.add_argument("--rehearsal", nargs="+", type=float, default=[0.0, 0.2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1.0, help="multiplies every preset's learning rate")
    parser.add_argument("--turns", type=int, default=120)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps; 0: after the preset's epochs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--home", type=Path, help="a folder to keep; what is there is not done again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.home or Path(folder), given)
        limit = f", at most {given.steps} steps" if given.steps else ""
        print(f"rates x {given.rate:g}, {given.seeds} seeds{limit}: mean (least to largest)", flush=True)
        print("preset    rehearsal  calls, points         NLL, nats             probes, points        KL new  KL old")
        for preset in given.presets:
            for rehearsal in given.rehearsal:
                found = [bench.figures(preset, rehearsal, seed) for seed in range(given.seeds)]
                columns = {key: [one[key] for one in found] for key in found[0]}
                spans = [
                    f"{statistics.mean(c):+6.2f} ({min(c):+.2f} to {max(c):+.2f})".ljust(21)
                    for c in (columns["calls"], columns["nll"], columns["probes"])
                ]
                kl = [f"{statistics.mean(columns[key]):7.3f}" for key in ("kl_new", "kl_old")]
                print(f"{preset:9} {rehearsal:9.2f}  {' '.join(spans)} {' '.join(kl)}", flush=True)


if __name__ == "__main__":
    main()
