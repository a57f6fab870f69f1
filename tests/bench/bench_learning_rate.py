"""Learning rates on the nano base and the fixture logs: what is learnt, and how far the model moves from its base.

    python tests/bench/bench_learning_rate.py [--preset gentle] [--rates 2e-5 7.5e-5 ...] [--rows 160] [--home FOLDER]

Each rate trains a fresh adapter on the same rows in the same order. Validation loss is in nats per supervised token of
held-out conversations of the agent; KL(base || tuned) is measured there (`new`) and on general prompts that are not
trained on (`old`). A small base wants higher rates than a 3B one: read the shape of the table, not its row.
"""

import argparse
import math
import sqlite3
import tempfile
import time
from pathlib import Path

from lunar_tune import workflow
from lunar_tune.artefacts import REHEARSED
from lunar_tune.cli.output import Talk
from lunar_tune.plugins import backends
from lunar_tune.settings import load_settings
from lunar_tune.tokens import read_tokens
from lunar_tune.workflow.learn import dataset_tokens

ROOT = Path(__file__).parents[2]
RATES = (2e-5, 7.5e-5, 3e-4, 1e-3, 3e-3)


def made(home: Path, settings):
    """Return training and validation rows of the fixture logs, harvested once into `home`."""
    log = home / "logs.db"
    home.mkdir(parents=True, exist_ok=True)
    if not log.exists():
        db = sqlite3.connect(log)
        db.executescript((ROOT / "fixtures/lunar_logs.sql").read_text(encoding="utf-8"))
        db.close()
    with workflow.open_workspace(home / "workspace", settings, Talk()) as space:
        dataset = workflow.harvest(space, [str(log)])
        tokens = dataset_tokens(space, dataset, workflow.ground(space))
    return read_tokens(tokens, "train"), read_tokens(tokens, "valid")


def some(rows, number: int):
    return rows if len(rows) <= number else [rows[index * len(rows) // number] for index in range(number)]


def measure(train, valid, settings, folder: Path) -> tuple[list, float]:
    """Train once; return the validations and the CPU seconds."""
    seen, begun = [], time.process_time()
    backends()["peft"]().train(ROOT / "fixtures/nano", train, valid, settings, folder, seen.append)
    return [event for event in seen if event.kind == "valid"], time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="gentle")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--rows", type=int, default=160, help="rows of the agent; the preset's share is rehearsed")
    parser.add_argument("--valid", type=int, default=60, help="rows to validate on, at most")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--home", type=Path, help="a folder to keep the harvested logs in")
    given = parser.parse_args()
    base = str(ROOT / "fixtures/nano")
    with tempfile.TemporaryDirectory() as scratch:
        common = {"base": base, "preset": given.preset, "threads": 1, "evaluate_every": 10, "patience": 0}
        settings = load_settings([], {"train": common, "dataset": {"window": 2048}})
        train, valid = made(given.home or Path(scratch) / "home", settings)
        own = some([row for row in train if not row.id.startswith(REHEARSED)], given.rows)
        new = some([row for row in valid if not row.id.startswith(REHEARSED)], given.valid)
        judged = new + [row for row in valid if row.id.startswith(REHEARSED)]
        share = settings.train.rehearsal
        rehearsed = [row for row in train if row.id.startswith(REHEARSED)]
        rows = own + some(rehearsed, round(len(own) * share / (1 - share)))
        print(f"{given.preset}: {len(own)} rows of the agent, {len(rows) - len(own)} rehearsed, {len(new)} to validate")
        print("    rate seed  before    best   at    last  KL new  KL old  CPU s")
        for rate in given.rates:
            for seed in range(given.seeds):
                flags = {"train": common | {"learning_rate": rate, "seed": seed}}
                recipe = load_settings([], flags).train
                seen, seconds = measure(rows, judged, recipe, Path(scratch) / f"{rate}-{seed}")
                best = min(seen[1:], key=lambda event: event.valid_loss)
                kl_new, kl_old = (math.nan if value is None else value for value in (seen[-1].kl_new, seen[-1].kl_old))
                print(
                    f"{rate:8.1e} {seed:4} {seen[0].valid_loss:7.4f} {best.valid_loss:7.4f} {best.step:4} "
                    f"{seen[-1].valid_loss:7.4f} {kl_new:7.4f} {kl_old:7.4f} {seconds:6.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
