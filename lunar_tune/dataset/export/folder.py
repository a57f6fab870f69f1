"""Writing an export: the consumer's files, a README that says how it is used and what has no place in it, a manifest.

Files are replaced one by one, so that what a trainer has put beside them stays; a folder that holds something else and
no export is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lunar_tune import __version__
from lunar_tune.artefacts import SPLITS, Dataset, Row, Split
from lunar_tune.bases import model_type, tokenizer_here
from lunar_tune.dataset.export.consumer import Consumer, Source
from lunar_tune.dataset.export.recipe import recipe
from lunar_tune.dataset.system import as_trained
from lunar_tune.errors import UsageError
from lunar_tune.files import make_private_dir, read_jsonl, write_json, write_jsonl, write_text
from lunar_tune.prompts import load_prompt, prompt_of
from lunar_tune.prompts.base import TemplatePrompt
from lunar_tune.settings import Settings

CONSUMERS = ("trl", "mlx-lm", "axolotl", "llama-factory", "unsloth", "openai", "together")
MARK = "export.json"


@dataclass(frozen=True)
class Exported:
    """A written export: rows and answers to learn by split, and in words what has no place in it, with numbers."""

    path: Path
    consumer: str
    dataset: str
    files: Mapping[Split, str]
    rows: Mapping[str, int]
    turns: Mapping[str, int]
    unsaid: Mapping[str, int]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "path": str(self.path),
            "for": self.consumer,
            "dataset": self.dataset,
            "code": __version__,
            "files": {str(split): name for split, name in self.files.items()},
            "rows": dict(self.rows),
            "turns_to_learn": dict(self.turns),
            "no_place_for": dict(self.unsaid),
            "notes": list(self.notes),
        }


def consumers() -> tuple[str, ...]:
    """Return the names of those who can be exported for."""
    return CONSUMERS


def find_consumer(name: str) -> Consumer:
    """Return a consumer by its name.

    Raises:
        UsageError: there is no such consumer.
    """
    if name not in CONSUMERS:
        raise UsageError(f"No export for {name!r}.", f"There is one for {', '.join(CONSUMERS)}.")
    module = import_module(f"lunar_tune.dataset.export.{name.replace('-', '_')}")
    found: Consumer = module.CONSUMER
    return found


def _prompt(settings: Settings) -> TemplatePrompt:
    """Return the prompt of the base where its tokenizer is on this machine, else of the family that is set."""
    folder = tokenizer_here(settings.train.base)
    return load_prompt(settings.prompt) if folder is None else prompt_of(settings.prompt, folder, model_type(folder))


def export_dataset(dataset: Dataset, name: str, settings: Settings, out: Path) -> Exported:
    """Write the dataset for a consumer into the folder `out`.

    Raises:
        UsageError: no such consumer, or `out` holds something that is no export.
        ArtefactBroken: a row that cannot be read. DiskFull.
    """
    consumer = find_consumer(name)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file()):
        raise UsageError(f"{str(out)!r} is there already and is no export.", "Name an empty or new folder with --out.")
    source = Source(dataset, _prompt(settings), recipe(settings))
    make_private_dir(out)
    rows: dict[str, int] = {}
    turns: dict[str, int] = {}
    for split in consumer.files:
        learnt = [0]
        rows[split] = write_jsonl(out / consumer.files[split], _rows(consumer, source, split, learnt))
        turns[split] = learnt[0]
    for file, text in consumer.beside(source, rows).items():
        write_text(out / file, text)
    unsaid = dict(sorted((+source.unsaid).items()))
    notes = (*consumer.notes, *_left_behind(consumer, source))
    done = Exported(out, name, dataset.id, consumer.files, rows, turns, unsaid, notes)
    write_text(out / "README.md", _readme(consumer, source, done))
    write_json(out / MARK, {key: value for key, value in done.document().items() if key != "path"})
    return done


def _rows(consumer: Consumer, source: Source, split: Split, learnt: list[int]) -> Iterator[dict[str, Any]]:
    row: Row
    for row in read_jsonl(source.dataset.split(split)):
        for made in consumer.rows(as_trained(row), source):
            learnt[0] += consumer.learnt(made)
            yield made


def _left_behind(consumer: Consumer, source: Source) -> Iterator[str]:
    yield from source.recipe.unknown
    absent = [split for split in SPLITS if split not in consumer.files]
    if absent:
        counts = ", ".join(f"{source.dataset.counts[split]} of {split}" for split in absent)
        yield f"rows held out from training and not exported, because they would be trained on: {counts}"
    yield "rehearsal against forgetting, the judging of the result and the gate, which stay with lunar-tune"


def _readme(consumer: Consumer, source: Source, done: Exported) -> str:
    lines = [
        f"# Dataset {done.dataset} for {consumer.title}",
        "",
        f"Written by lunar-tune {__version__} (`lunar-tune dataset export --for {consumer.name}`). The rows are what "
        "an agent's users said: do not publish this folder.",
        "",
        "| file | rows | answers to learn |",
        "| --- | --- | --- |",
        *(f"| {done.files[s]} | {done.rows[s]} | {done.turns[s]} |" for s in done.files),
        "",
        "## Use",
        "",
        consumer.use(source).strip(),
        "",
        "## Which answers are learnt",
        "",
        consumer.weights,
        "",
        "## What has no place here",
        "",
        *(f"- {number} {what}" for what, number in done.unsaid.items()),
        *(f"- {note}" for note in done.notes),
    ]
    return consumer.header + "\n".join(lines) + "\n"
