"""Results on stdout, talk and progress on stderr: tables, JSON, live bars and panels on a terminal, plain lines
elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from lunar_tune.artefacts import TrainEvent

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress, TaskID

    from lunar_tune.cli.panel import Course

# Without a terminal a line now and then is enough to see life: soon at first, once a minute in a long run.
PLAIN_SECONDS = (5.0, 60.0)
PLAIN_SHARE = 0.1  # of the time a stage has taken so far


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    import json

    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Print a table on stdout; figures are right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, header in enumerate(headers):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) or row[index] in ("", "-") for row in rows)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(file=sys.stdout, soft_wrap=False, width=None if sys.stdout.isatty() else 120).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)


class Talk:
    """What a command says while it works, on stderr; the protocol `lunar_tune.seams.Talk`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live: Progress | None = None
        self._panel: Live | None = None
        self._course: Course | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Print one line."""
        if self._quiet:
            return
        live = self._live or self._panel
        if live is not None:
            live.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def progress(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Show how far a stage is, with the time left; `done == total` ends it."""
        if self._quiet or total <= 0:
            return
        self._began.setdefault(stage, time.monotonic())
        if sys.stderr.isatty():
            self._bar(stage, done, total, note)
        else:
            self._line(stage, done, total, note)
        if done >= total:
            self._end(stage)

    def training(self, event: TrainEvent) -> None:
        """Show a run of training: a panel on a terminal, a line now and then elsewhere."""
        from lunar_tune.cli.panel import Course

        if self._quiet:
            return
        self._course = self._course or Course()
        self._course.hear(event)
        if sys.stderr.isatty():
            self._draw(self._course)
        else:
            if event.kind == "start" and event.note:
                self.say(event.note)
            done = event.steps if event.kind == "end" else event.step  # it may have stopped early
            self.progress("training", done, event.steps, ", ".join(self._course.figures()))
        if event.kind == "end":
            self._course = None

    def _draw(self, course: Course) -> None:
        from rich.console import Console
        from rich.live import Live

        from lunar_tune.cli.panel import LOW, Drawing

        if self._panel is None:
            self.close()  # a terminal has room for one live thing
            console = Console(stderr=True)
            self._panel = Live(console=console, refresh_per_second=4, vertical_overflow="crop")
            self._panel.start()
        self._panel.update(Drawing(course, LOW), refresh=course.ended)
        if course.ended:
            self.close()

    def close(self) -> None:
        """End what is live."""
        if self._panel is not None:
            self._panel.stop()
            self._panel = None
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._tasks.clear()

    def _bar(self, stage: str, done: float, total: float, note: str) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
            self._live = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
            self._live.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._live.add_task(stage, total=total, note=note)
        self._live.update(self._tasks[stage], completed=done, total=total, note=note)

    def _line(self, stage: str, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        least, most = PLAIN_SECONDS
        wait = min(most, max(least, PLAIN_SHARE * (now - self._began[stage])))
        if now - self._said.get(stage, self._began[stage]) < wait:
            return
        self._said[stage] = now
        left = (now - self._began[stage]) * (total - done) / done if done else float("nan")
        click.echo(f"{stage}: {done:g} of {total:g}, {clock(left)} left{', ' + note if note else ''}", err=True)

    def _end(self, stage: str) -> None:
        self._began.pop(stage, None)
        self._said.pop(stage, None)
        if self._live is not None and stage in self._tasks:
            self._live.remove_task(self._tasks.pop(stage))
            if not self._tasks:
                self.close()


def clock(seconds: float) -> str:
    """Return seconds as `1h02m`, `3m05s` or `12s`; an unknown time is `?`."""
    if seconds != seconds or seconds < 0:
        return "?"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def counts_text(counts: Mapping[str, Any]) -> str:
    """Return `a 1, b 2` of a mapping."""
    return ", ".join(f"{key} {value}" for key, value in counts.items())
