"""Are our ids the server's, at every supervised turn? `python tests/bench/bench_prompt_parity.py [HOME]`.

HOME is a workspace with a dataset (default: the demo's), whose valid and test turns are asked in both styles; the
server is llama-server on the nano base with that style's template. Prints turns asked, turns with its ids, their share.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lunar_tune import workflow
from lunar_tune.artefacts import SPLITS
from lunar_tune.cli.output import Talk
from lunar_tune.evaluate.turns import held_out_turns
from lunar_tune.export.quantize import export_gguf
from lunar_tune.files import read_jsonl
from lunar_tune.runtimes.llama_server import LlamaServer
from lunar_tune.settings import load_settings
from lunar_tune.workflow.judge import same_ids

ROOT = Path(__file__).parents[2]


def main() -> None:
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".demo/home"
    settings = load_settings([ROOT / "fixtures/demo.toml"])
    dataset = workflow.find_dataset(home)
    turns = [turn for split in SPLITS[1:] for turn in held_out_turns(read_jsonl(dataset.split(split)))]
    for style in ("tagged", "meta"):
        chosen = replace(settings, prompt=replace(settings.prompt, style=style))
        with (
            workflow.open_workspace(home, chosen, Talk(), locked=False) as space,
            tempfile.TemporaryDirectory() as folder,
        ):
            on = workflow.ground(space)
            gguf = Path(folder) / "base.gguf"
            export_gguf(on.base.path, None, gguf, "F16", chat_template=on.prompt.serving_template, name="nano")
            with LlamaServer(gguf, context=512) as server:
                kept = sum(same_ids(server, on, turn) for turn in turns)
                raw = sum(same_ids(server, on, turn, raw=True) for turn in turns)
        print(
            f"{style}: {len(turns)} turns, {kept} with the server's ids, {kept / len(turns):.2%} kept "
            f"({raw} also without the door's shaping)"
        )


if __name__ == "__main__":
    main()
