"""Training speed: tokens a second of wall and of CPU time, by trainer; `python tests/bench/bench_backends.py`.

Rows are random ids, a fifth of them supervised, on fixtures/nano. CPU time is the steadier figure on a busy machine.
"""

import argparse
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from lunar_tune.artefacts import TokenRow
from lunar_tune.plugins import backends
from lunar_tune.settings import TrainSettings
from lunar_tune.train.tripwires import read_base

NANO = Path(__file__).parents[2] / "fixtures" / "nano"


def rows(count: int, length: int, vocabulary: int, end: int) -> list[TokenRow]:
    draw, answer = random.Random(0), length // 5
    made = []
    for index in range(count):
        ids = [draw.randrange(vocabulary) for _ in range(length - 1)] + [end]
        made.append(TokenRow(f"row-{index}", tuple(ids), (0,) * (length - answer) + (1,) * answer))
    return made


def measure(name: str, base: Path, data: list[TokenRow], settings: TrainSettings) -> str:
    begun: list[tuple[float, float, int]] = []

    def watch(event):
        if event.kind == "step":
            begun.append((time.perf_counter(), time.process_time(), event.memory))

    with tempfile.TemporaryDirectory() as work:
        backends()[name]().train(base, data, [], settings, Path(work), watch)
    (wall, cpu, _), (wall_end, cpu_end, memory) = begun[0], begun[-1]  # the first step warms up
    per_step = settings.batch * settings.accumulation * len(data[0].ids)
    tokens = per_step * (len(begun) - 1)
    return f"{tokens / (wall_end - wall):8.0f} {tokens / (cpu_end - cpu):10.0f} {memory / 2**20:9.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=NANO)
    parser.add_argument("--tokens", type=int, default=500, help="tokens in a row")
    parser.add_argument("--steps", type=int, default=5, help="measured steps of 8 rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mlx", action="store_true", help="also MLX (slow without Apple's GPU)")
    given = parser.parse_args()
    facts = read_base(given.base)
    data = rows(8 * (given.steps + 1), given.tokens, facts.vocabulary, min(facts.ends))
    recipe = TrainSettings(base="nano", layers=0, epochs=1, threads=given.threads)
    print(f"{'trainer':8} {'batch':>5} {'dropout':>7} {'tok/s':>8} {'tok/CPU-s':>10} {'peak MiB':>9}")
    for name in ("peft", "mlx") if given.mlx else ("peft",):
        for batch in (1, 8):
            for dropout in (0.0, 0.1):
                settings = replace(recipe, batch=batch, accumulation=8 // batch, dropout=dropout)
                print(f"{name:8} {batch:5} {dropout:7} {measure(name, given.base, data, settings)}", flush=True)


if __name__ == "__main__":
    main()
