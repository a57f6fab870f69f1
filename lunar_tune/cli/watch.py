"""The command `watch`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from lunar_tune.cli.options import Context, pass_context

if TYPE_CHECKING:
    from lunar_tune.artefacts import TrainEvent


@click.command()
@click.argument("run", required=False)
@click.option("--once", is_flag=True, help="Draw what there is and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they come, one JSON document a line.")
@pass_context
def watch(context: Context, run: str | None, once: bool, as_json: bool) -> None:
    """Draw the curves of a training run, and follow it while it goes on.

    RUN is the newest unless named. Ctrl-C ends the watching alone; the training goes on.

    \b
    Example:
      lunar-tune watch
      lunar-tune watch --json | jq .loss
    """
    from lunar_tune.workflow.follow import find_record, follow, goes_on, read_events

    name = find_record(context.home, run)
    told = [read_events(context.home, name)] if once else follow(context.home, name)
    ended = False
    with contextlib.suppress(KeyboardInterrupt):
        ended = _print(told) if as_json else _show(name, told, live=sys.stdout.isatty() and not once)
    if not ended:
        alive = goes_on(context.home, name)
        hint = "The training goes on." if alive else "It stopped there; the command that began it goes on from there."
        click.echo(hint, err=True)


def _print(told: Iterable[list[TrainEvent]]) -> bool:
    """Print the events that are new each time; a run that was taken up again repeats what it does again."""
    from lunar_tune.train.events import event_line

    before: list[TrainEvent] = []
    for events in told:
        same = next((i for i, pair in enumerate(zip(before, events, strict=False)) if pair[0] != pair[1]), len(before))
        for event in events[min(same, len(events)) :]:
            click.echo(event_line(event), nl=False)
        sys.stdout.flush()
        before = events
    return bool(before) and before[-1].kind == "end"


def _show(name: str, told: Iterable[list[TrainEvent]], *, live: bool) -> bool:
    """Draw the curves whenever there is more, on a terminal; elsewhere at the end."""
    from rich.console import Console
    from rich.live import Live

    from lunar_tune.cli.panel import TALL, Course, Drawing

    course, console = Course(name), Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100)
    with Live(console=console, refresh_per_second=4) if live else contextlib.nullcontext() as screen:
        try:
            for events in told:
                course = Course(name)
                for event in events:
                    course.hear(event)
                if screen is not None:
                    screen.update(Drawing(course, TALL, rate=True))
        except KeyboardInterrupt:
            pass
    if not live:
        console.print(Drawing(course, TALL, rate=True))
    return course.ended
