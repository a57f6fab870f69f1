"""Single keys of a terminal, by name.

The terminal stays in this mode from the first key to the last: switched anew for each key, it would echo what is typed
while a page is drawn, and lose it.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
from collections.abc import Iterator
from typing import Any

import click

NAMES = {
    **dict.fromkeys(("\x1b[A", "\x1bOA", "\xe0H", "\x00H"), "up"),
    **dict.fromkeys(("\x1b[B", "\x1bOB", "\xe0P", "\x00P"), "down"),
    **dict.fromkeys(("\x1b[C", "\x1bOC", "\xe0M", "\x00M"), "right"),
    **dict.fromkeys(("\x1b[D", "\x1bOD", "\xe0K", "\x00K"), "left"),
    **dict.fromkeys(("\x1b[5~", "\xe0I", "\x00I"), "page up"),
    **dict.fromkeys(("\x1b[6~", "\xe0Q", "\x00Q"), "page down"),
    **dict.fromkeys(("\r", "\n"), "enter"),
    **dict.fromkeys(("\x7f", "\b"), "backspace"),
    "\x1b": "escape",
    "\t": "tab",
}
_KEY = re.compile("\x1b\\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|[\x00\xe0].|.", re.DOTALL)
_BEGUN = re.compile("\x1b(\\[[0-9;]*|O)?$")
REST = 0.05  # seconds in which the rest of an arrow key follows its first sign


def names(typed: str) -> list[str]:
    """Return the keys of what was typed, which comes together when it is typed quickly."""
    return [NAMES.get(key, key) for key in _KEY.findall(typed)]


class Keys:
    """The keys of the terminal that this process reads from; use it as a context."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        self._single()
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def read(self) -> list[str]:
        """Wait for keys and return them.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            EOFError: Ctrl-D, or the terminal is gone.
        """
        typed = click.getchar() if self._before is None else self._typed()
        if "\x03" in typed:
            raise KeyboardInterrupt
        if "\x04" in typed:
            raise EOFError
        return names(typed)

    def _typed(self) -> str:
        typed = ""
        while not typed or (_BEGUN.search(typed) and select.select([sys.stdin], [], [], REST)[0]):
            data = os.read(sys.stdin.fileno(), 1024)
            if not data:
                raise EOFError
            typed += self._decode(data)
        return typed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The terminal as it was before, for another program."""
        self._restore()
        try:
            yield
        finally:
            self._single()

    def _single(self) -> None:
        if sys.platform == "win32":
            return  # `click.getchar` asks the console, which echoes nothing
        import termios

        self._before = termios.tcgetattr(sys.stdin)
        mode = termios.tcgetattr(sys.stdin)
        mode[0] &= ~termios.IXON  # Ctrl-S stops nothing
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)

    def _restore(self) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None
