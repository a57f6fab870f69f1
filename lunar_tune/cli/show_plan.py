"""How `train --plan` shows what a run would take."""

from __future__ import annotations

from typing import Any

import click

from lunar_tune.cli.output import clock, print_json, print_table


def show_plan(plan: dict[str, Any], as_json: bool) -> None:
    """Print a plan as tables, or as JSON."""
    if as_json:
        return print_json(plan)
    device, chosen, longest = plan["device"], plan["plan"], plan["longest"]
    click.echo(f"{plan['base']} with {plan['backend']} on the {device['name']}")
    click.echo(
        f"{plan['rows']} rows, the longest of {longest['tokens']} tokens; {plan['steps']} steps of "
        f"{chosen['accumulation']} passes, each of at most {chosen['batch']} x the longest row"
    )
    base = "" if chosen["quantize_base"] == "none" else f", {chosen['quantize_base']} base"
    click.echo(f"{chosen['precision']}{base}, checkpointing {chosen['checkpointing']}")
    if plan["frozen"]:
        click.echo(f"frozen: run {plan['frozen']} is unfinished and goes on with this plan")
    _memory(plan)
    _time(plan["time"], plan["energy"])
    return _disk(plan["disk"])


def _memory(plan: dict[str, Any]) -> None:
    memory, free = plan["memory"], plan["free"]
    if memory is None:
        click.echo("memory: this kind of base cannot be reckoned; it is tried as set")
    else:
        print_table(
            ["memory", ""],
            [[name, _size(size)] for name, size in memory["parts"].items() if size and name != "loading"],
        )
        of = f" of {_size(free['of'])}" if free["of"] else ""
        click.echo(f"at most {_size(memory['total'])} at a time; {_size(free['memory'])}{of} are free now")
    if free["held_by_ollama"]:
        click.echo(f"Ollama holds {', '.join(free['held_by_ollama'])} in memory; unloaded when training starts")


def _time(time: dict[str, Any], energy: dict[str, Any] | None) -> None:
    if time["seconds"] is None:
        click.echo(f"time: unknown ({time['from']})")
        return
    click.echo(f"time: about {clock(time['seconds'])}, at {time['tokens_per_second']:.0f} tokens/s ({time['from']})")
    if energy:
        click.echo(f"energy: about {energy['watt_hours']:.1f} Wh, at {energy['watts']:.0f} W ({energy['from']})")


def _disk(disk: dict[str, Any]) -> None:
    if disk["parts"]:
        print_table(["disk, a night", ""], [[name, _size(size)] for name, size in disk["parts"].items() if size])
        click.echo(f"{_size(disk['needed'])} to write; {_size(disk['free'])} are free")


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
