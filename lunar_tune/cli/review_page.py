"""One conversation of a review as lines of a terminal: roles coloured, turns marked with what becomes of them.

Nothing of a conversation can steer the terminal: control and direction characters are shown as a dot.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lunar_tune.episodes import Episode, Message
    from lunar_tune.workflow.review import Item, Turn

CLIP = 6  # lines of a message, until it is expanded
LONGEST = 100_000  # characters of a message, when it is
COLOURS = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}
DECIDED = {"keep": "kept by you", "drop": "dropped by you", "edit": "edited by you"}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Page:
    """The lines of a conversation, and the lines of each assistant turn by its message's index."""

    lines: list[Text]
    places: dict[int, range]


def plain(text: str) -> str:
    """Return a text that can be shown: tabs as spaces, control and direction characters as dots."""
    return _CONTROL.sub("\u00b7", text.replace("\r\n", "\n").expandtabs(4))


def headline(item: Item, position: int, total: int) -> Text:
    """Return `3 of 214`, when and where the conversation was, and what the dataset made of it."""
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{position} of {total}", style="bold")
    state, colour = (item.split, "green") if item.kept else ("left out", "red")
    line.append(f"  {state}", style=colour)
    for part in (item.id, item.date, item.source, plain(item.thread)):
        if part:
            line.append(f"  {part}")
    return line


def standing(item: Item) -> Text:
    """Return how much of it is learnt, and why the rest is not."""
    from rich.text import Text

    learnt = sum(turn.learnt for turn in item.turns)
    decided = sum(turn.decision is not None for turn in item.turns)
    told = f"{learnt} of {len(item.turns)} turns learnt" if item.turns else "no turns to show"
    told += f", {decided} decided by you" if decided else ""
    reasons = "; ".join(f"{reason} ({step})" for step, reason in item.reasons())
    return Text(told + (f". Left out: {reasons}" if reasons else ""), style="dim", no_wrap=True, overflow="ellipsis")


def page(item: Item, episode: Episode | None, width: int, *, selected: int | None, expanded: bool) -> Page:
    """Return the lines of a conversation; `selected` is the index of the turn to point at."""
    from rich.text import Text

    from lunar_tune.workflow.review import GONE

    lines: list[Text] = []
    places: dict[int, range] = {}
    if episode is None:
        told = f"This conversation is {GONE}. `lunar-tune harvest` makes a dataset of what is there now."
        return Page([Text(line, style="red") for line in _wrapped(told, width)], places)
    turns = {turn.index: turn for turn in item.turns}
    offered = ", ".join(tool.name for tool in episode.tools)
    for title, text in (("system", episode.system), ("tools", offered)):
        if text and expanded:
            lines += [Text(title, style="bold magenta"), *_body(text, width, expanded)]
        elif text:  # the same in most conversations: a line is enough
            line = Text(f"{title} ", style="bold magenta", no_wrap=True, overflow="ellipsis")
            lines.append(line.append(plain(text[:width]).replace("\n", " "), style="not bold dim"))
    for index, message in enumerate(episode.messages):
        first = len(lines)
        turn = turns.get(index)
        chosen = turn is not None and index == selected
        lines.append(_title(index, message, turn, chosen))
        if turn is not None and turn.decision is not None and turn.decision.text is not None:
            edited = replace(message, content=turn.decision.text)
            lines += [*_body(_said(edited), width, expanded, chosen=chosen), Text("  was:", style="dim")]
            lines += _body(message.content or "(empty)", width, expanded, dim=True, chosen=chosen)
        else:
            left_out = turn is not None and not turn.after
            lines += _body(_said(message), width, expanded, dim=left_out, chosen=chosen)
        if turn is not None:
            places[index] = range(first, len(lines))
        lines.append(Text(""))
    return Page(lines, places)


def _title(index: int, message: Message, turn: Turn | None, chosen: bool) -> Text:
    """Return a message's first line: its role and, for a turn, what becomes of it and why."""
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    name = f" {plain(message.name)}" if message.role == "tool" and message.name else ""
    line.append(
        f"{'>' if chosen else ' '}{message.role}{name}" if turn else f"{message.role}{name}",
        style=f"bold {COLOURS[message.role]}" + (" reverse" if chosen else ""),
    )
    if turn is None:
        return line
    line.append(f" {index}", style="dim")
    if turn.learnt:
        line.append("  + learnt", style="green")
    elif turn.verdict is not None:
        line.append(f"  - {turn.verdict.reason} ({turn.verdict.step})", style="red")
    if turn.decision is not None:
        line.append(f"  {DECIDED[turn.decision.action]}", style="bold yellow")
    if turn.after != turn.learnt:
        line.append(" -> learnt" if turn.after else " -> left out", style="yellow")
    elif turn.decision is not None and turn.decision.action != "drop" and turn.barred:
        line.append(", but it cannot be learnt so", style="yellow")
    return line


def _said(message: Message) -> str:
    """Return what a message says, calls as `name({…})`."""
    parts = [message.content] if message.content.strip() else []
    for call in message.tool_calls:
        arguments = call.arguments_raw or json.dumps(call.arguments, ensure_ascii=False)
        parts.append(f"-> {call.name}({arguments})")
    parts += [f"[{attachment.type} {attachment.name}]" for attachment in message.attachments]
    if message.error:
        parts.append(f"[error: {message.error}]")
    return "\n".join(parts) or "(empty)"


def _body(text: str, width: int, expanded: bool, *, dim: bool = False, chosen: bool = False) -> list[Text]:
    """Return a text's lines, indented; what is clipped is said."""
    from rich.text import Text

    width = max(10, width - 3)
    limit = LONGEST if expanded else (CLIP + 1) * width
    wrapped = _wrapped(plain(text[:limit]), width)
    lines = wrapped if expanded else wrapped[:CLIP]
    indent = Text("> " if chosen else "  ", style="green" if chosen else "")
    told = [indent + Text(line, style="dim" if dim else "") for line in lines]
    left = len(text) - sum(map(len, lines)) if len(wrapped) > len(lines) or len(text) > limit else 0
    if left:
        how = "" if expanded else " (x shows all)"
        told.append(Text(f"  ... {max(1, left):,} more characters{how}", style="dim italic"))
    return told


@lru_cache(maxsize=8192)
def _wrapped(text: str, width: int) -> tuple[str, ...]:
    """Return the lines of a text; a page is drawn anew for every key, and breaking lines is most of the work."""
    from rich.text import Text

    return tuple(line.plain for line in Text(text).wrap(_console(), width))


@lru_cache(maxsize=1)
def _console() -> Console:
    from rich.console import Console

    return Console(width=80)
