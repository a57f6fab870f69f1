"""The review in a terminal: one conversation a page, single keys, decisions taken at once."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from lunar_tune.cli.keys import Keys
from lunar_tune.cli.review_page import Page, headline, page, plain, standing
from lunar_tune.errors import LunarError

if TYPE_CHECKING:
    from rich.text import Text

    from lunar_tune.workflow.review import Item, Reviewing, Turn

KEYS = "n p page  \u2191\u2193 turn  k keep  d drop  e edit  u undo  x expand  ? help  q quit"
HELP = """\
n  right      next conversation      k      keep: no judgement sets it aside
p  left       previous one           d      drop: not learnt
down  tab     next turn              e      edit the answer in $EDITOR
up            previous turn          u      take the decision back
space  b      scroll down, up        K D U  the same for the conversation
x  enter      show long texts whole  /      search; empty: the next one
g             go to a number         f      filter: kept, dropped, decided,
q             quit                          a reason or step; empty: all

>  the turn that k d e u are about       + learnt    - left out: reason (step)
-> what the next harvest makes of it, as far as can be told before

Decisions are kept by what was said: they hold in every later harvest, and for
the same words in other places. A broken call, or a turn that another
conversation teaches already, stays out even when it is kept."""
HEAD, FOOT = 3, 2  # lines above and below the conversation
NAMES = {
    "tab": "down", "right": "next", "n": "next", "left": "previous", "p": "previous",
    " ": "scroll", "page down": "scroll", "b": "back", "page up": "back", "enter": "expand", "x": "expand",
}  # fmt: skip


class Screen:
    """A review going on: which conversation, which turn, how far it is scrolled."""

    def __init__(self, review: Reviewing, items: Sequence[Item]) -> None:
        from rich.console import Console

        self.review, self.all, self.items = review, list(items), list(items)
        self.console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self.at = self.turn = self.top = 0
        self.keys, self._waiting = Keys(), list[str]()
        self.expanded, self.note, self.sought, self.help = False, "", "", False
        self._arrive()

    def run(self) -> None:
        """Show pages until `q`; Ctrl-C and the end of input leave the terminal as it was."""
        with self.keys, self._alternate(), _on_resize(self.draw), contextlib.suppress(EOFError):
            while True:
                self.draw()
                for key in self._typed():
                    if key == "q" and not self.help:
                        return
                    self.press(key)

    def _typed(self) -> Iterator[str]:
        """Yield the keys that were typed; a key that asks for a line takes the ones after it."""
        self._waiting += self.keys.read()
        while self._waiting:
            yield self._waiting.pop(0)

    def press(self, key: str) -> None:
        """Do what a key stands for; any key closes the help."""
        if self.help:
            self.help = False
            return
        self.note = ""
        action = self._actions().get(NAMES.get(key, key))
        if action is None:
            self.note = f"{key} is no key here; ? lists them" if key.isprintable() else ""
            return
        try:
            action()
        except LunarError as error:
            self.note = error.message

    def _actions(self) -> dict[str, Callable[[], None]]:
        return {
            "next": lambda: self._go(self.at + 1),
            "previous": lambda: self._go(self.at - 1),
            "down": lambda: self._select(self.turn + 1),
            "up": lambda: self._select(self.turn - 1),
            "scroll": lambda: self._scroll(1),
            "back": lambda: self._scroll(-1),
            "expand": self._expand,
            "k": lambda: self._decide("keep", whole=False),
            "d": lambda: self._decide("drop", whole=False),
            "K": lambda: self._decide("keep", whole=True),
            "D": lambda: self._decide("drop", whole=True),
            "u": lambda: self._undo(whole=False),
            "U": lambda: self._undo(whole=True),
            "e": self._edit,
            "f": self._filter,
            "/": self._search,
            "g": self._number,
            "?": self._show_help,
        }

    # -- moving --

    @property
    def item(self) -> Item:
        """The conversation on the page."""
        return self.items[self.at]

    @property
    def chosen(self) -> Turn | None:
        """The turn that keys are about, None in a conversation without any."""
        return self.item.turns[self.turn] if self.item.turns else None

    def _arrive(self) -> None:
        """Point at the first turn that is left out of a conversation, else at its first."""
        self.top, self.expanded = 0, False
        left_out = (n for n, turn in enumerate(self.item.turns) if not turn.learnt)
        self.turn = next(left_out, 0)
        self._reveal()

    def _go(self, number: int) -> None:
        if not 0 <= number < len(self.items):
            self.note = "this is the first one" if number < 0 else "this is the last one"
            return
        self.at = number
        self._arrive()

    def _select(self, number: int) -> None:
        if not 0 <= number < len(self.item.turns):
            return self._scroll(1 if number > 0 else -1)
        self.turn = number
        self._reveal()
        return None

    def _reveal(self) -> None:
        """Scroll so that the chosen turn is seen, with a line of what came before it."""
        shown, height = self._page(), self._height()
        if self.chosen is None or self.chosen.index not in shown.places:
            return
        place = shown.places[self.chosen.index]
        if place.start < self.top or place.stop > self.top + height:
            self.top = max(0, min(place.start - 2, len(shown.lines) - height))

    def _scroll(self, pages: int) -> None:
        last = max(0, len(self._page().lines) - self._height())
        before, self.top = self.top, max(0, min(last, self.top + pages * (self._height() - 1)))
        if self.top == before:
            self.note = "the end; n goes on" if pages > 0 else "the beginning"

    def _expand(self) -> None:
        self.expanded = not self.expanded
        self.top = 0
        self._reveal()

    def _show_help(self) -> None:
        self.help = True

    # -- deciding --

    def _decide(self, action: str, *, whole: bool) -> None:
        turn = None if whole else self.chosen
        if not self.item.turns or self.item.number is None:
            self.note = "there is no turn to decide about"
            return
        self.review.decide(self.item, turn, "keep" if action == "keep" else "drop")
        what = "all turns of the conversation" if whole else f"turn {turn.index if turn else ''}"
        self.note = f"{'kept' if action == 'keep' else 'dropped'}: {what}; {'U' if whole else 'u'} takes it back"

    def _undo(self, *, whole: bool) -> None:
        found = self.review.undo(self.item, None if whole else self.chosen)
        self.note = f"taken back: {found} turn(s)" if found else "nothing was decided here"

    def _edit(self) -> None:
        turn = self.chosen
        if turn is None or self.item.number is None:
            self.note = "there is no turn to edit"
            return
        text = self.review.answer(self.item, turn)
        with self._normal(), self.keys.paused():
            try:
                edited = click.edit(text, extension=".txt")
            except click.ClickException as error:
                self.note = f"the editor did not start: {error.message} (set EDITOR)"
                return
        if edited is None or edited.rstrip("\n") == text.rstrip("\n"):
            self.note = "not changed"
            return
        self.review.decide(self.item, turn, "edit", edited.rstrip("\n"))
        self.note = f"edited: turn {turn.index}; u takes it back"

    # -- finding --

    def _filter(self) -> None:
        asked = self._ask("filter (kept, dropped, decided, reason or step; empty: all): ")
        if asked is None:
            return
        found = [item for item in self.all if matches(item, asked)]
        if not found:
            self.note = f"no conversation has {asked!r}"
            return
        here = self.item
        self.items = found
        self.at = found.index(here) if here in found else 0
        self._arrive()
        self.note = f"{len(found)} of {len(self.all)} conversations"

    def _search(self) -> None:
        asked = self._ask("search: ")
        if asked is None:
            return
        self.sought = asked or self.sought
        order = [*range(self.at + 1, len(self.items)), *range(self.at + 1)] if self.sought else []
        for number in order:
            if self.review.holds(self.items[number], self.sought):
                self.at = number
                self._arrive()
                self._reveal_text(self.sought)
                self.note = f"found {self.sought!r}"
                return
        self.note = f"{self.sought!r} is in none of these conversations"

    def _reveal_text(self, text: str) -> None:
        """Scroll to a text, out of what is clipped if need be; one that is broken over lines is not found."""
        for self.expanded in (False, True):
            lines = (line.plain.casefold() for line in self._page().lines)
            found = next((number for number, line in enumerate(lines) if text.casefold() in line), None)
            if found is not None:
                if not self.top <= found < self.top + self._height():
                    self.top = max(0, found - 2)
                return
        self.expanded = False

    def _number(self) -> None:
        asked = self._ask("go to number: ")
        if asked:
            self._go(int(asked) - 1 if asked.isdecimal() else -1)

    def _ask(self, prompt: str) -> str | None:
        """Return a line typed at the bottom, None when Escape leaves it."""
        typed = ""
        while True:
            self.note = prompt + typed + "_"
            self.draw()
            for key in self._typed():
                if key in ("enter", "escape"):
                    self.note = ""
                    return typed.strip() if key == "enter" else None
                typed = typed[:-1] if key == "backspace" else typed + key if len(key) == 1 else typed

    # -- drawing --

    def _height(self) -> int:
        return max(3, self.console.height - HEAD - FOOT)

    def _page(self) -> Page:
        chosen = self.chosen.index if self.chosen else None
        episode = self.review.episode(self.item)
        return page(self.item, episode, self.console.width, selected=chosen, expanded=self.expanded)

    def draw(self) -> None:
        """Write the whole page."""
        from rich.text import Text

        height = self._height()
        lines = [headline(self.item, self.at + 1, len(self.items)), standing(self.item)]
        if self.help:
            shown: list[Text] = [Text(line) for line in HELP.splitlines()]
            top = 0
        else:
            shown = self._page().lines
            self.top = top = max(0, min(self.top, len(shown) - height))
        above = f"{top + 1}-{min(top + height, len(shown))} of {len(shown)} lines" if len(shown) > height else ""
        lines.append(_rule(above, self.console.width))
        lines += shown[top : top + height]
        lines += [Text("")] * (HEAD + height - len(lines))
        lines += [Text(plain(self.note), style="bold yellow"), Text(KEYS, style="reverse")]
        self._write(lines[: self.console.height])

    def _write(self, lines: Sequence[Text]) -> None:
        """Write lines over what is there, each cut to the width, so that nothing flickers."""
        width = self.console.width
        with self.console.capture() as captured:
            for number, line in enumerate(lines):
                line.truncate(width, overflow="ellipsis")
                self.console.print(line, end="\x1b[K" if number == len(lines) - 1 else "\x1b[K\n", soft_wrap=True)
        out = captured.get().replace("\n", "\r\n")
        sys.stdout.write("\x1b[H" + out + "\x1b[J")
        sys.stdout.flush()

    @contextlib.contextmanager
    def _alternate(self) -> Iterator[None]:
        """The terminal's second screen, without a cursor; the first one comes back as it was."""
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        try:
            yield
        finally:
            sys.stdout.write("\x1b[?25h\x1b[?1049l")
            sys.stdout.flush()

    @contextlib.contextmanager
    def _normal(self) -> Iterator[None]:
        """The first screen again, for an editor."""
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        try:
            yield
        finally:
            sys.stdout.write("\x1b[?1049h\x1b[?25l")


def _rule(text: str, width: int) -> Text:
    from rich.text import Text

    told = f" {text} " if text else ""
    return Text("\u2500" * max(0, width - len(told) - 2) + told + "\u2500" * 2, style="dim")


def matches(item: Item, asked: str) -> bool:
    """Tell whether a conversation is of a filter: kept, dropped, decided, or part of a reason or step."""
    if asked in ("", "all"):
        return True
    if asked == "kept":
        return item.kept
    if asked == "dropped":
        return bool(item.reasons())
    if asked == "decided":
        return any(turn.decision is not None for turn in item.turns)
    word = asked.casefold()
    return any(word in reason.casefold() or word == step for step, reason in item.reasons())


@contextlib.contextmanager
def _on_resize(redraw: Callable[[], None]) -> Iterator[None]:
    """Draw anew when the window changes its size, where the system tells."""
    if not hasattr(signal, "SIGWINCH"):
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: redraw())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
