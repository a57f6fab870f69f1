"""Turns that cannot be learnt (empty, cut off, failed, answers to what is not there) and shapes no template renders.

Afterwards a conversation begins with a user turn (system messages aside), and neither two user nor two assistant turns
follow each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import LEARN, OUT, Marker
from lunar_tune.episodes import Message, with_messages
from lunar_tune.seams import Report


class Turns:
    """Sets broken turns aside and mends the order of roles."""

    name = "turns"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft; one without any turn left is dropped at the end of curation."""
        for draft in drafts:
            marker = Marker(draft, self.name, report)
            _begin_with_user(marker)
            marker.messages = _alternate(marker)
            _broken_turns(marker)
            _unanswerable(marker)
            done = marker.done()
            same = all(new is old for new, old in zip(marker.messages, draft.episode.messages, strict=True))
            yield done if same else replace(done, episode=with_messages(draft.episode, marker.messages))


def _begin_with_user(marker: Marker) -> None:
    for index in list(marker.present()):
        role = marker.messages[index].role
        if role == "user":
            return
        if role != "system":
            marker.leave_out(index, "before the first user turn")


def _broken_turns(marker: Marker) -> None:
    for index in marker.turns(range(len(marker.messages))):
        message = marker.messages[index]
        if message.finish in ("length", "cancelled"):
            marker.set_aside(index, "cut off")
        elif message.error or message.finish == "error":
            marker.set_aside(index, "failed")
        elif not message.content.strip() and not message.tool_calls:
            marker.set_aside(index, "empty")


def _unanswerable(marker: Marker) -> None:
    """An answer cannot be learnt from a request whose attachment or text is not kept."""
    for index in list(marker.present()):
        message = marker.messages[index]
        if message.role != "user":
            continue
        if message.attachments:
            marker.set_exchange_aside(index, "answers an attachment, which is not kept")
        elif message.error or not message.content.strip():
            marker.set_exchange_aside(index, "answers an empty or unreadable message")


def _alternate(marker: Marker) -> tuple[Message, ...]:
    """Join or leave out messages until roles alternate; return the messages, joined ones changed."""
    messages = list(marker.messages)
    last: int | None = None
    for index in list(marker.present()):
        message = messages[index]
        if last is not None and message.role == "user" and messages[last].role == "user":
            messages[index] = _joined_user(messages[last], message)
            marker.leave_out(last, "joined to the user message that follows it")
        elif last is not None and message.role == "assistant" and messages[last].role == "assistant":
            earlier = messages[last]
            if earlier.tool_calls or message.tool_calls:  # one turn in two rows: text and call, or parallel calls
                messages[index] = _joined_turn(earlier, message)
                if marker.weights[last] != LEARN:
                    marker.set_aside(index, "goes on from a turn that is not learnt")
                marker.leave_out(last, "joined to the turn that follows it")
            else:
                marker.leave_out(last, "another answer follows it")
        if marker.weights[index] != OUT and message.role != "system":
            last = index
    return tuple(messages)


def _joined_turn(earlier: Message, later: Message) -> Message:
    return replace(
        later,
        content="\n".join(part for part in (earlier.content, later.content) if part),
        tool_calls=(*earlier.tool_calls, *later.tool_calls),
        error=earlier.error or later.error,
    )


def _joined_user(earlier: Message, later: Message) -> Message:
    repeated = later.content.strip() == earlier.content.strip().rpartition("\n")[2]
    parts = [earlier.content] if repeated else [earlier.content, later.content]
    return replace(
        later,
        content="\n".join(part for part in parts if part.strip()),
        attachments=(*earlier.attachments, *later.attachments),
        error=earlier.error or later.error,
    )
