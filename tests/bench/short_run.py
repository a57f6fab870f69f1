"""A short training run on the nano base, for the benches that kill it or fill its disk."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from lunar_tune.artefacts import TokenRow, Tokens
from lunar_tune.settings import TrainSettings
from lunar_tune.train.process import TrainingSpec

BASE = Path(__file__).parents[2] / "fixtures/nano"
STEPS = 30
SHORT = TrainSettings(
    base=str(BASE), precision="float32", layers=0, rank=6, alpha=8.0, dropout=0.1, learning_rate=1e-3, batch=1,
    accumulation=2, epochs=100, max_steps=STEPS, evaluate_every=6, save_every=4, patience=0, threads=1,
)  # fmt: skip


def short_run(backend: str, work: Path, **changes: object) -> TrainingSpec:
    """Return a spec; its tokens lie beside its work folder."""
    tokens = write_tokens(work.with_name(f"{work.name}-tokens"), rows(24, 0), rows(6, 1))
    return TrainingSpec(backend, BASE, tokens, replace(SHORT, **changes), work)  # type: ignore[arg-type]


def rows(count: int, seed: int) -> list[TokenRow]:
    """Return rows whose answer is what was asked, backwards."""
    config = json.loads((BASE / "generation_config.json").read_text())
    ends = config["eos_token_id"]
    end = ends[0] if isinstance(ends, list) else ends
    draw, made = random.Random(seed), []
    for index in range(count):
        asked = [draw.randrange(10, 1000) for _ in range(draw.randint(6, 20))]
        answer = [*reversed(asked[-draw.randint(2, 6) :]), end]
        made.append(TokenRow(f"row-{seed}-{index}", (*asked, *answer), (0,) * len(asked) + (1,) * len(answer)))
    return made


def write_tokens(folder: Path, train: list[TokenRow], valid: list[TokenRow]) -> Tokens:
    """Write rows as `tokens.tokenize_dataset` does."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in (("train", train), ("valid", valid)):
        np.save(folder / f"{split}.ids.npy", np.array([i for row in lines for i in row.ids], dtype=np.int32))
        np.save(folder / f"{split}.mask.npy", np.array([m for row in lines for m in row.mask], dtype=np.uint8))
        np.save(folder / f"{split}.offsets.npy", np.cumsum([0, *(len(row.ids) for row in lines)]))
        (folder / f"{split}.rows.json").write_text(json.dumps([row.id for row in lines]))
    return Tokens("tokens-short", folder, {"train": {"rows": len(train)}})
