"""The memory plan against what an engine really used; `python tests/bench/bench_memory.py SHAPE_FOLDER …`.

Each measurement is a process of its own: it makes the engine, trains two steps of rows of random ids, a fifth of them
supervised, judges a pass, and says its peak. Folders are bases.
"""

import argparse
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from lunar_tune.artefacts import TokenRow
from lunar_tune.settings import TrainSettings
from lunar_tune.train.plan import Longest, estimate, read_shape
from lunar_tune.train.settle import settled

SHARE = 0.2  # of the tokens is supervised
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def rows(count: int, length: int, share: float) -> list[TokenRow]:
    draw, answer = random.Random(0), max(1, int(length * share))
    return [
        TokenRow(
            str(i), tuple(draw.randrange(3, 1000) for _ in range(length)), (0,) * (length - answer) + (1,) * answer
        )
        for i in range(count)
    ]


def measure(base: Path, backend: str, settings: TrainSettings, length: int, share: float) -> int:
    from lunar_tune.train.initial import initial_weights
    from lunar_tune.train.packing import pack

    if backend == "mlx":
        from lunar_tune.train.mlx_backend import MlxEngine as Engine
    else:
        import torch

        from lunar_tune.train.peft_backend import PeftEngine as Engine

        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    engine = Engine(base, settings)
    engine.load(initial_weights(engine.shapes(), settings.rank, settings.seed), {}, 0)
    loaded = engine.memory()
    [batch] = pack(rows(settings.batch, length, share), length * settings.batch)
    for step in range(2):
        engine.accumulate(batch, len(batch.targets), step)
        engine.update(1e-4, 1.0)
    stepped = engine.memory()
    engine.drift(batch, engine.base_states(batch))
    engine.nll(batch)
    print(json.dumps([loaded, stepped, engine.memory()]))
    return engine.memory()


def compare(base: Path, backend: str, length: int, share: float, changes: dict) -> float:
    settings = settled(replace(TrainSettings(base=str(base)), **changes))
    shape = read_shape(json.loads((base / "config.json").read_text()))
    planned = estimate(shape, settings, backend, "cpu", Longest(length, max(1, int(length * share))))
    arguments = [str(base), "--measure", backend, str(length), str(share), json.dumps(changes)]
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    loaded, stepped, measured = json.loads(done.stdout.splitlines()[-1])
    error = planned.resident / measured - 1
    said = {key: value for key, value in changes.items() if key != "modules"}
    parts = " ".join(f"{name} {size / 1e6:.0f}" for name, size in planned.parts().items())
    figures = f"{planned.resident / 1e6:8.0f} {measured / 1e6:8.0f} {error:+7.1%}"
    detail = f"[loaded {loaded / 1e6:.0f}, stepped {stepped / 1e6:.0f}; {parts}]"
    print(f"{base.name:6} {backend:4} {length:5} {figures}  {said} {detail}", flush=True)
    return error


CASES = (  # tokens of a row, settings
    (512, {}),
    (2048, {}),
    (2048, {"precision": "bfloat16"}),
    (2048, {"checkpointing": "on"}),
    (1024, {"batch": 2}),
    (1024, {"layers": 0.0, "dropout": 0.0, "modules": ALL}),
    (1024, {"layers": 0.0, "modules": ALL, "precision": "bfloat16"}),
    (1024, {"layers": 0.0, "checkpointing": "on"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", type=Path, nargs="+")
    parser.add_argument("--backend", default="peft", choices=["peft", "mlx"])
    parser.add_argument("--longest", type=int, default=2048, help="leave out cases of longer rows")
    parser.add_argument("--only", default="", help="a JSON object of settings for one case, of --longest tokens")
    parser.add_argument("--measure", nargs=4, metavar=("B", "N", "SHARE", "JSON"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        backend, length, share, changes = given.measure
        settings = settled(replace(TrainSettings(base=str(given.bases[0])), **json.loads(changes)))
        measure(given.bases[0], backend, settings, int(length), float(share))
        return
    print(f"{'base':6} {'':4} {'row':>5} {'plan MB':>8} {'used MB':>8} {'error':>7}")
    chosen = [(given.longest, json.loads(given.only))] if given.only else CASES
    errors = [
        compare(base, given.backend, length, SHARE, changes)
        for base in given.bases
        for length, changes in chosen
        if length <= given.longest
    ]
    print(f"largest error {max(map(abs, errors)):.1%}")


if __name__ == "__main__":
    main()
