"""How a dataset, its rows and an evaluation are shown, by every command that ends in one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lunar_tune.artefacts import Row
from lunar_tune.cli.output import print_json, print_table

if TYPE_CHECKING:
    from lunar_tune.dataset.tables import Bars

BRIEF = ("Rows", "Turns left out", "Left out while reading", "Decided by you", "Redacted", "Overlap", "Sources")
BAR = 40  # columns of the longest bar
COLOURS = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}


def show_dataset(
    manifest: dict[str, Any], path: str, as_json: bool, *, tokens: dict[str, Any] | None = None, whole: bool = False
) -> None:
    """Print a dataset's manifest as tables or JSON; the `whole` has every table and the histograms.

    `tokens` are lengths that a tokenizer counted; without them the manifest's estimates are shown.
    """
    from lunar_tune.dataset.tables import histograms, summary

    if as_json:
        counted = {} if tokens is None else {"tokens": tokens}
        return print_json({**manifest, **counted, "path": path})
    for title, headers, rows in summary(manifest):
        if whole or title in BRIEF:
            print_table(headers, rows, title)
    for bars in histograms(manifest, tokens) if whole else ():
        _print_bars(bars)
    click.echo(_balance(manifest["curation"]["turns"]))
    return click.echo(path)


def _balance(turns: dict[str, Any]) -> str:
    left = sum(number for reasons in turns["left_out"].values() for number in reasons.values())
    adds_up = turns["read"] == turns["kept"] + left
    told = f"{turns['read']} turns read = {turns['kept']} kept + {left} left out"
    return told if adds_up else f"the count does not add up: {told}"


def _print_bars(bars: Bars) -> None:
    """Print a histogram; the longest bar is as wide as there is room for."""
    from rich.bar import Bar
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title, pairs, note = bars
    if not pairs:
        return
    click.secho(title, bold=True)
    if note:
        click.echo(f" {note}")
    table = Table(box=None, show_header=False)
    table.add_column("", overflow="fold", max_width=30)
    table.add_column("", justify="right")
    table.add_column("")
    most = max(number for _, number in pairs)
    for label, number in pairs:
        table.add_row(Text(label), str(number), Bar(most or 1, 0, number, width=BAR))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120).print(table, Text(""))


def show_rows(rows: Sequence[Row], as_json: bool) -> None:
    """Print rows of a dataset as talk, what is learnt marked, or as JSON."""
    if as_json:
        return print_json(rows)
    for row in rows:
        click.secho(f"{row['id']}  {row['date']}  {row['meta']['thread']}", bold=True)
        for message in row["messages"]:
            _print_message(message)
        click.echo()
    return None


def _print_message(message: dict[str, Any]) -> None:
    from lunar_tune.cli.review_page import plain

    role, weight = message["role"], message.get("weight")
    mark = "" if weight is None else "  + learnt" if weight else "  context only"
    click.secho(plain(f"{role} {message.get('name') or ''}".rstrip()) + mark, fg=COLOURS.get(role))
    parts = [message["content"]] if message["content"].strip() else []
    for call in message.get("tool_calls", ()):
        arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
        parts.append(f"-> {call['function']['name']}({arguments})")
    for line in plain("\n".join(parts) or "(empty)").splitlines():
        click.echo(f"  {line}")


def show_evaluation(document: dict[str, object]) -> None:
    """Print the arms side by side, then the verdict with its reasons."""
    from lunar_tune.evaluate.table import comparison

    headers, rows = comparison(document)
    print_table(headers, rows)
    for reason in document["reasons"]:  # type: ignore[attr-defined]
        click.echo(f"  {reason}")
    click.echo(f"verdict: {document['verdict']}")
