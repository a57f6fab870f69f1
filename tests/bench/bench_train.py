"""Training speed and peak memory beside TRL's SFTTrainer and mlx_lm.lora, on one CPU thread.

    python tests/bench/bench_train.py --trl-python VENV/bin/python [--only small slice mlx] [--small DIR] [--slice DIR]

Every contender is a process of its own (`train_contender.py`) with the same base, rows, first adapter weights, AdamW,
schedule and window, one thread and, unless the line says otherwise, the allocator as the system has it. A step passes
over all rows one at a time; the first step warms up and is not counted. CPU seconds are the figure to compare on a
machine with other work. The rows share nothing with each other; `shared` lines say what ours does where they begin
alike, which peers do not use. The mean NLL of the supervised tokens under every contender's adapter is computed by
transformers and PEFT alone.

The two shapes have random weights: `small` is 39M parameters with Llama 3's vocabulary, `slice` has the widths of
Llama 3.2 3B and four layers. They are written to a temporary folder unless given.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from lunar_tune.settings import TrainSettings
from lunar_tune.train.adapter import adapter_config, write_adapter
from lunar_tune.train.initial import initial_weights
from lunar_tune.train.tripwires import read_base

NANO = Path(__file__).parents[2] / "fixtures" / "nano"
SHAPES = {  # hidden, intermediate, layers, heads, kv heads, head width
    "small": (256, 768, 8, 8, 4, 32),
    "slice": (3072, 8192, 4, 24, 8, 128),
}
VOCABULARY = 128256
RANK, ALPHA = 8, 16.0
# what glibc needs to be told to keep large blocks instead of giving them back to the system after every use
LIMIT = str(8 << 30)
RAISED = {"MALLOC_TRIM_THRESHOLD_": LIMIT, "MALLOC_MMAP_THRESHOLD_": LIMIT, "MALLOC_TOP_PAD_": str(1 << 28)}
# SFTTrainer at its leanest: its defaults are bf16 autocast and gradient checkpointing, slower on a CPU
LEAN = {"gradient_checkpointing": False, "bf16": False}


@dataclass(frozen=True)
class Contest:
    """One comparison: a base, rows and the trainers on them."""

    title: str
    base: Path
    precision: str
    rows: int
    length: int
    window: int
    steps: int
    layers: int = 0
    turns: int = 4
    clip: float = 1.0
    rate: float = 1e-3


@dataclass(frozen=True)
class Entry:
    """One contender: `said` is what it is called in the table."""

    said: str
    contender: str
    options: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    python: str = sys.executable
    backend: str = ""
    shared: int = 0


def write_shape(name: str, folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, inner, layers, heads, kv, width = SHAPES[name]
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=width,
        max_position_embeddings=131072,
        tie_word_embeddings=True,
        rope_parameters={**rope, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        bos_token_id=128000,
        eos_token_id=[128001, 128008, 128009],
        dtype=torch.bfloat16,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def make_rows(contest: Contest, shared: int = 0) -> list[dict]:
    """Return rows of random ids: a prompt, then turns of which the last fifth in all is the assistant's."""
    facts, draw = read_base(contest.base), random.Random(0)
    end, usable = max(facts.ends), min(facts.vocabulary, 128000)
    head = [draw.randrange(usable) for _ in range(shared)]
    answer = contest.length // 5 // contest.turns
    prompt = contest.length * 2 // 5
    rows = []
    for _ in range(contest.rows):
        ids = head + [draw.randrange(usable) for _ in range(contest.length - shared)]
        mask = [0] * contest.length
        for turn in range(contest.turns):
            stop = contest.length - (contest.turns - 1 - turn) * ((contest.length - prompt) // contest.turns)
            ids[stop - 1] = end
            mask[stop - answer : stop] = [1] * answer
        rows.append({"ids": ids, "mask": mask})
    return rows


def start_adapter(contest: Contest, folder: Path) -> Path:
    """Write the adapter that every contender starts from: the one our trainer would make."""
    config = json.loads((contest.base / "config.json").read_text())
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    query, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    sizes = {"q_proj": (query, width), "k_proj": (kv, width), "v_proj": (kv, width), "o_proj": (width, query)}
    sizes |= {"gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner)}
    settings = TrainSettings(base=str(contest.base), rank=RANK, alpha=ALPHA, dropout=0.0, layers=contest.layers)
    settings = replace(settings, modules=tuple(sizes))
    from lunar_tune.train.adapter import adapted_modules

    total = config["num_hidden_layers"]
    shapes = {name: sizes[name.rpartition(".")[2]] for name in adapted_modules(total, settings)}
    folder.mkdir()
    write_adapter(folder, initial_weights(shapes, RANK, settings.seed), adapter_config(total, settings))
    return folder


def run(entry: Entry, spec: dict, work: Path) -> dict:
    path = work / "spec.json"
    path.write_text(json.dumps(spec, default=str))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_", "LD_PRELOAD"))}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if entry.contender != "trl":
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    child = [entry.python, str(Path(__file__).with_name("train_contender.py")), str(path)]
    done = subprocess.run(child, env=environment | entry.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{entry.said} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def compete(contest: Contest, entries: list[Entry], target: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        layers = f"the top {contest.layers}" if contest.layers else "all"
        init = start_adapter(contest, work / "init")
        spec = asdict(contest) | {"rank": RANK, "alpha": ALPHA, "init": init, "tokenizer": NANO / "tokenizer.json"}
        spec["end"] = "<|eot_id|>"
        rows, adapters, lines = make_rows(contest), [str(init)], []
        share = sum(rows[0]["mask"]) / contest.length
        print(f"\n{contest.title}: {contest.precision}, {contest.rows} rows of {contest.length} tokens, ", end="")
        print(f"{share:.0%} of them supervised, window {contest.window}, LoRA rank {RANK} on all projections ", end="")
        print(f"of {layers} layers, best of {contest.steps - 1} step(s) after the first")
        print(f"{'trainer':58} {'tok/CPU-s':>9} {'tok/s':>8} {'peak MiB':>8} {'xCPU':>6} {'xmem':>5}")
        for number, entry in enumerate(entries):
            (work / f"rows-{number}.json").write_text(json.dumps(make_rows(contest, entry.shared)))
            files = {"rows": work / f"rows-{number}.json", "out": work / f"run-{number}"}
            asked = {"contender": entry.contender, "options": entry.options, "backend": entry.backend}
            answer = run(entry, spec | files | asked, work)
            wall, cpu = (min(b[i] - a[i] for a, b in pairwise(answer["marks"])) for i in (0, 1))
            tokens = contest.rows * contest.length
            lines.append((tokens / cpu, answer["peak"]))
            speed, memory = lines[0][0] / lines[-1][0], lines[-1][1] / lines[0][1]
            print(f"{entry.said:58} {lines[-1][0]:9.1f} {tokens / wall:8.1f} ", end="")
            print(f"{answer['peak'] / 2**20:8.0f} {1 / speed:6.2f} {memory:5.2f}", flush=True)
            adapters += [] if entry.shared else [answer["adapter"]]
        (work / "rows.json").write_text(json.dumps(rows))
        judge = {"contender": "judge", "adapters": adapters, "rows": work / "rows.json", "out": work / "judge"}
        losses = run(Entry("judge", "judge"), spec | judge, work)["losses"]
        named = zip(["start", *(e.said for e in entries if not e.shared)], losses, strict=True)
        print("mean NLL of supervised tokens: " + "; ".join(f"{said} {loss:.4f}" for said, loss in named))
        print(f"wanted: {target}", flush=True)


def in_float32(base: Path, folder: Path) -> Path:
    """Copy a base with its weights as float32: what mlx_lm.lora trains in is the format of the file."""
    import torch
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    rope = config["rope_parameters"]  # transformers 5's name, which mlx-lm's Llama ignores in silence
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": rope["rope_theta"], "rope_scaling": rope}))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-python", default=sys.executable, help="a Python with TRL (pip install trl==1.16.0 peft)")
    parser.add_argument("--only", nargs="+", choices=("small", "slice", "mlx"), default=("small", "slice", "mlx"))
    parser.add_argument("--small", type=Path, help="a folder with the small shape")
    parser.add_argument("--slice", type=Path, help="a folder with the slice shape")
    parser.add_argument("--ours", action="store_true", help="our trainer alone")
    parser.add_argument("--rows", type=int, help="other numbers of rows than 4, 1 and 8")
    parser.add_argument("--steps", type=int, help="other numbers of steps than 3, 2 and 3; the first is not counted")
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("flags: " + ", ".join(f"{k}={v}" for k, v in LEAN.items()) + "; OMP_NUM_THREADS=1")
    print("raised malloc limits: " + " ".join(f"{k}={v}" for k, v in RAISED.items()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in given.only:
            contest(name, given, folder)


def contest(name: str, given: argparse.Namespace, folder: Path) -> None:
    mine = Entry("lunar-tune (peft)", "ours", backend="peft")
    theirs = Entry("TRL", "trl", LEAN, python=given.trl_python)

    def compared(shape: Contest, entries: list[Entry], target: str) -> None:
        shape = replace(shape, rows=given.rows or shape.rows, steps=given.steps or shape.steps)
        alike = [replace(e, said=f"{e.said}, rows that share 40 %", shared=shape.length * 2 // 5) for e in entries[-1:]]
        compete(shape, entries[-1:] if given.ours else [*entries, *alike], target)

    if name == "small":
        base = given.small or write_shape("small", folder / "small")
        raised = replace(theirs, said="TRL, raised malloc limits", environment=RAISED)
        entries = [theirs, raised, replace(mine, said="lunar-tune, raised malloc limits", environment=RAISED), mine]
        target = "6 times TRL per CPU second (4.5 times with raised limits on both) and 0.6 of its memory"
        compared(Contest("small", base, "float32", 4, 1408, 2048, 3), entries, target)
    elif name == "slice":
        base = given.slice or write_shape("slice", folder / "slice")
        cast = Entry("TRL, bf16 autocast + checkpointing (its defaults)", "trl", {"bf16": True}, {}, given.trl_python)
        target = "2.2 times TRL per CPU second and 0.85 of its memory"
        compared(Contest("slice", base, "bfloat16", 1, 1024, 1024, 2), [theirs, cast, mine], target)
    else:
        base = in_float32(NANO, folder / "nano")
        plain = Entry("mlx_lm.lora", "mlx_lm")
        mine = replace(mine, said="lunar-tune (mlx)", backend="mlx")
        everywhere = Contest("mlx, everywhere", base, "float32", 8, 512, 512, 3, turns=1, clip=0.0)
        compared(everywhere, [plain, mine], "1.0 times mlx_lm.lora per CPU second")
        upper = replace(everywhere, title="mlx, upper half", layers=2)
        compared(upper, [plain, mine], "1.3 times mlx_lm.lora per CPU second")


if __name__ == "__main__":
    main()
