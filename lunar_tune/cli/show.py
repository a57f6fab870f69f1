"""How a dataset and an evaluation are shown, by every command that ends in one."""

from __future__ import annotations

import click

from lunar_tune.cli.output import print_json, print_table


def show_dataset(manifest: dict[str, object], path: str, as_json: bool) -> None:
    """Print a dataset's manifest as tables or JSON."""
    from lunar_tune.dataset.card import summary

    if as_json:
        return print_json({**manifest, "path": path})
    for title, headers, rows in summary(manifest):
        print_table(headers, rows, title)
    click.echo(path)


def show_evaluation(document: dict[str, object]) -> None:
    """Print the arms side by side, then the verdict with its reasons."""
    from lunar_tune.evaluate.table import comparison

    headers, rows = comparison(document)
    print_table(headers, rows)
    for reason in document["reasons"]:  # type: ignore[attr-defined]
        click.echo(f"  {reason}")
    click.echo(f"verdict: {document['verdict']}")
