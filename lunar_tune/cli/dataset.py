"""The command `dataset`."""

from __future__ import annotations

from pathlib import Path

import click

from lunar_tune.artefacts import SPLITS, Split
from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json, print_table
from lunar_tune.cli.show import show_dataset, show_rows
from lunar_tune.settings import Settings


@click.group()
def dataset() -> None:
    """Look at a dataset."""


@dataset.command()
@click.argument("dataset_id", required=False)
@click.option(
    "--rows", type=click.IntRange(0), default=0, metavar="N", help="Print N rows instead, spread over a split."
)
@click.option("--split", type=click.Choice(SPLITS), default="train", show_default=True, help="The split of --rows.")
@json_flag
@settings_flags()
def show(context: Context, dataset_id: str | None, rows: int, split: Split, as_json: bool, settings: Settings) -> None:
    """Say what is in a dataset and why the rest is not; the newest one unless named.

    Tokens are counted with the tokenizer of the base where that is on this machine, else estimated.

    \b
    Example:
      lunar-tune dataset show
    """
    from lunar_tune import workflow

    found = workflow.find_dataset(context.home, dataset_id)
    if rows:
        return show_rows(list(workflow.some_rows(found, split, rows)), as_json)
    tokens = workflow.counted_tokens(settings, found, Talk())
    return show_dataset(dict(found.manifest), str(found.path), as_json, tokens=tokens, whole=True)


@dataset.command("export")
@click.option("--for", "consumer", required=True, metavar="NAME", help="Who will read it; a wrong name lists them all.")
@click.argument("dataset_id", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to [DATASET-NAME in this folder].")
@json_flag
@settings_flags()
def export_rows(
    context: Context, consumer: str, dataset_id: str | None, out: Path | None, as_json: bool, settings: Settings
) -> None:
    """Write a dataset for another trainer.

    With the recipe of the workspace; the newest dataset unless named.

    Names: trl, mlx-lm, axolotl, llama-factory, unsloth, openai, together.

    \b
    Example:
      lunar-tune dataset export --for axolotl --out for-axolotl
    """
    from lunar_tune import workflow
    from lunar_tune.dataset.export import export_dataset

    found = workflow.find_dataset(context.home, dataset_id)
    done = export_dataset(found, consumer, settings, out or Path(f"{found.id}-{consumer}"))
    if as_json:
        return print_json(done.document())
    rows = [[done.files[split], done.rows[split], done.turns[split]] for split in done.files]
    print_table(["file", "rows", "answers to learn"], rows)
    for what in [*(f"{number} {text}" for text, number in done.unsaid.items()), *done.notes]:
        click.echo(f"no place for: {what}")
    click.echo(str(done.path))
