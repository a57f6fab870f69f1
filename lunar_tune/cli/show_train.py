"""How `train` shows what it would learn, token by token, and the recipes it knows."""

from __future__ import annotations

import sys
from typing import Any

import click

from lunar_tune.cli.output import counts_text, print_json, print_table

TABLE = (
    "PEFT's table is its benchmark of LoRA variants on Llama 3.2 3B (method_comparison/MetaMathQA: 5000 steps of 4, "
    "AdamW, 1e-4, one seed); forgetting is the rise of the loss on Wikipedia."
)
BEGIN, END = "{+", "+}"  # round what is learnt where there is no colour, as in git's word diffs


def show_tokens(found: dict[str, Any], as_json: bool) -> None:
    """Print rows of the training tokens, what is supervised in green or between `{+` and `+}`, or as JSON."""
    if as_json:
        return print_json(found)
    coloured = sys.stdout.isatty()
    for row in found["shown"]:
        answers = f"{row['answers']} answer{'' if row['answers'] == 1 else 's'}"
        told = f"{row['tokens']} tokens, {row['supervised']} of them learnt in {answers}"
        click.secho(f"{row['id']}: {told}", bold=True)
        click.echo(_coloured(row["pieces"]) if coloured else _marked(row["pieces"]))
        click.echo()
    share = f"{found['supervised']} of {found['tokens']} tokens are learnt"
    click.echo(f"{found['rows']} training rows, {found['rehearsed']} of them rehearsed; {share}.")
    if found["left_out"]:
        click.echo(f"Left out while turning rows into tokens: {counts_text(found['left_out'])}.")
    if not coloured:
        click.echo(f"What is learnt stands between {BEGIN} and {END}.")
    return None


def _coloured(pieces: list[tuple[str, bool, bool]]) -> str:
    from lunar_tune.cli.review_page import plain

    return "".join(
        click.style(plain(text), fg="green" if learnt else "yellow" if special else None, bold=learnt, dim=not learnt)
        for text, learnt, special in pieces
    )


def _marked(pieces: list[tuple[str, bool, bool]]) -> str:
    from lunar_tune.cli.review_page import plain

    out, before = [], False
    for text, learnt, _ in pieces:
        out.append((BEGIN if learnt and not before else END if before and not learnt else "") + plain(text))
        before = learnt
    return "".join(out) + (END if before else "")


def show_presets(as_json: bool) -> None:
    """Print every preset: what it is for, its settings beside each other, and the reason of each value."""
    from dataclasses import fields

    from lunar_tune.presets import presets
    from lunar_tune.settings import TrainSettings

    known = presets()
    if as_json:
        return print_json(
            {
                name: {"about": one.about, "settings": {key: said._asdict() for key, said in one.settings.items()}}
                for name, one in known.items()
            }
        )
    for name, one in known.items():
        click.echo(f"{name}: {one.about}")
    keys = [item.name for item in fields(TrainSettings) if item.name in known["gentle"].settings]
    values = [[key, *(_value(one.settings[key].value) for one in known.values())] for key in keys]
    print_table(["train.", *known], values)
    rows = []
    for key in keys:
        reasons: dict[tuple[str, str], list[str]] = {}
        for name, one in known.items():
            reasons.setdefault((_value(one.settings[key].value), one.settings[key].reason), []).append(name)
        for (value, reason), names in reasons.items():
            rows.append([key, value, "all" if len(names) == len(known) else ", ".join(names), reason])
    print_table(["train.", "value", "in", "because"], rows)
    return click.echo(TABLE)


def _value(value: Any) -> str:
    from lunar_tune.ranges import MODULES

    if isinstance(value, tuple):
        return "all seven" if set(value) == set(MODULES) else ", ".join(name.removesuffix("_proj") for name in value)
    return f"{value:g}"
