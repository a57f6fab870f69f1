"""The panel of a training run: its figures and its curves, from its events alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lunar_tune.artefacts import TrainEvent
from lunar_tune.cli.curves import MARK, bounds, curve, plain
from lunar_tune.cli.output import clock

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

_SCALE = 9  # cells of the scale beside a curve
_BAR = 24
_AROUND = 6  # rows of a terminal beside the first curve
LOW, TALL = 5, 10  # rows of a curve in the panel of a command that trains, and in `watch`


class Course:
    """What is known of a run so far. A step that is done again, after a crash, is known as it was done last."""

    def __init__(self, run: str = "") -> None:
        self.run = run
        self.step = self.steps = 0
        self.epoch = 0.0
        self.ended = False
        self.newest: TrainEvent | None = None  # the newest step
        self.kl_old: float | None = None
        self.best: tuple[int, float] | None = None
        self.notes: list[str] = []
        self._losses: dict[int, float] = {}
        self._rates: dict[int, float] = {}
        self._valids: dict[int, float] = {}

    def hear(self, event: TrainEvent) -> None:
        """Take an event in."""
        self.step, self.steps, self.epoch = event.step, event.steps, event.epoch
        if event.kind == "start":
            for known in (self._losses, self._rates, self._valids):
                for step in [step for step in known if step > event.step]:
                    del known[step]
            if event.note:
                self.notes.append(event.note)
        if event.kind == "step":
            self.newest = event
            if event.loss is not None:
                self._losses[event.step] = event.loss
            if event.learning_rate is not None:
                self._rates[event.step] = event.learning_rate
        if event.kind == "valid" and event.valid_loss is not None:
            self._valids[event.step], self.kl_old = event.valid_loss, event.kl_old
        if event.kind == "end":
            self.ended = True
            if event.note:
                self.notes.append(event.note)
        self.best = min(self._valids.items(), key=lambda found: (found[1], found[0]), default=None)

    @property
    def losses(self) -> list[tuple[float, float]]:
        """Training loss by step, nats per supervised token."""
        return sorted(self._losses.items())

    @property
    def rates(self) -> list[tuple[float, float]]:
        """Learning rate by step."""
        return sorted(self._rates.items())

    @property
    def valids(self) -> list[tuple[float, float]]:
        """Validation loss by step, nats per supervised token."""
        return sorted(self._valids.items())

    def figures(self) -> list[str]:
        """Return the newest figures, each with its name or unit."""
        now, told = self.newest, []
        if now is not None and now.loss is not None:
            told.append(f"loss {now.loss:.3f}")
        if self._valids:
            told.append(f"valid {self.valids[-1][1]:.3f}")
        if self.best is not None and len(self._valids) > 1:
            told.append(f"best {self.best[1]:.3f} at {self.best[0]}")
        if self.kl_old is not None:
            told.append(f"KL elsewhere {self.kl_old:.3f}")
        if now is not None and now.learning_rate is not None:
            told.append(f"rate {now.learning_rate:.1e}")
        if now is not None and now.tokens_per_second:
            told.append(f"{now.tokens_per_second:.0f} tokens/s")
        if now is not None and now.memory:
            told.append(f"{now.memory / 1e9:.1f} GB")
        return told

    def time_left(self) -> str:
        """Return the time left in words, "" where it is not known."""
        if self.ended:
            return "done"
        known = self.newest is not None and self.newest.seconds_left is not None
        return f"{clock(self.newest.seconds_left)} left" if known else ""  # type: ignore[union-attr,arg-type]


class Drawing:
    """A course as rich draws it, as wide as the terminal is at that moment; `rate` adds the learning rate's curve.

    Curves are `height` rows high, and left out where the terminal is too low for them.
    """

    def __init__(self, course: Course, height: int, *, rate: bool = False) -> None:
        self.course, self.height, self.rate = course, height, rate

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the headline, the figures, the curves and the notes."""
        from rich.text import Text

        course, ascii_only = self.course, not (options.encoding or "").lower().startswith("utf")
        room = console.height - _AROUND if console.is_terminal else self.height * 3
        yield _headline(course, ascii_only)
        if told := course.figures():
            yield Text(", ".join(told))
        if course.losses and room >= self.height:
            name = f"loss by step, {plain(MARK) if ascii_only else MARK} validation"
            yield _chart(course.losses, course.valids, name, course.steps, options.max_width, self.height, ascii_only)
            low = max(3, self.height // 2)
            if self.rate and course.rates and room >= self.height + low + 2:
                yield _chart(course.rates, [], "learning rate", course.steps, options.max_width, low, ascii_only)
        for note in course.notes:
            yield Text(note, style="dim")


def _headline(course: Course, ascii_only: bool) -> Text:
    from rich.text import Text

    share = course.step / course.steps if course.steps else 0.0
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    done = round(share * _BAR)
    line = Text(f"{course.run} " if course.run else "", style="bold")
    line.append(full * done, style="cyan").append(empty * (_BAR - done), style="dim")
    line.append(f" step {course.step} of {course.steps}, epoch {course.epoch:.2f}", style="not bold")
    return line.append(f", {course.time_left()}" if course.time_left() else "", style="not bold")


def _chart(
    line: list[tuple[float, float]],
    marks: list[tuple[float, float]],
    name: str,
    steps: int,
    width: int,
    height: int,
    ascii_only: bool,
) -> RenderableType:
    from rich.text import Text

    cells = max(10, width - _SCALE - 2)
    low, high = bounds(line, marks, columns=cells * 2, last=steps)
    side = "|" if ascii_only else "│"
    chart = Text(no_wrap=True).append(f"{'':>{_SCALE}}  {name}\n", style="dim")
    for row, drawn in enumerate(curve(line, marks, width=cells, height=height, last=steps)):
        scale = high if row == 0 else low if row == height - 1 else None
        chart.append(f"{'' if scale is None else f'{scale:.3g}':>{_SCALE}} {side}", style="dim")
        chart.append(_coloured(plain(drawn) if ascii_only else drawn)).append("\n")
    return chart.append(f"{'':>{_SCALE}}  {'0':<{cells - len(str(steps))}}{steps}", style="dim")


def _coloured(drawn: str) -> Text:
    from rich.text import Text

    row = Text(drawn, style="cyan")
    for place, character in enumerate(drawn):
        if character in (MARK, plain(MARK)):
            row.stylize("yellow", place, place + 1)
    return row
