"""Lines of a Claude Code session as a tree of steps: an answer with its results, or a message of the user.

The lines' own tree forks wherever calls run side by side: each call is a line, and its result hangs on that line. Taken
together by `message.id` and by the ids of the calls, what is left of forks is what the user went back from. Lines that
are no conversation (hooks, attachments, summaries, what the app wrote) are passed over; their children hang on the next
line above that is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import Blocks, read_blocks
from lunar_tune.sources.core.jsonl import UNREADABLE

OTHER_LINES = {  # known lines that are no conversation
    "system", "progress", "attachment", "summary", "file-history-snapshot", "queue-operation", "custom-title",
    "ai-title", "agent-name", "agent-setting", "agent-color", "last-prompt", "permission-mode", "pr-link", "mode",
    "tag", "task-summary", "content-replacement", "worktree-state",
}  # fmt: skip
INTERRUPTED = "[Request interrupted by user"
APP_OUTPUT = (
    "<local-command-stdout>",
    "<local-command-stderr>",
    "<local-command-caveat>",
    "<bash-stdout>",
    "<bash-stderr>",
)
APP_BLOCKS = ("<system-reminder>", "<ide_opened_file>", "<ide_selection>", "<task-notification>", *APP_OUTPUT)
_COMMAND = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_SHELL = re.compile(r"<bash-input>(.*?)</bash-input>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Piece:
    """One line of conversation."""

    role: Literal["user", "assistant"]
    blocks: Blocks
    line: int
    at: Any = None
    model: str | None = None
    stop: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Passed:
    """A line that is passed over; `before` is the last line of conversation above it in the file."""

    parent: str | None
    line: int
    boundary: bool
    before: str | None


class Steps:
    """The steps of one file, all of them a subagent's where `agent` names one.

    A step is named by the uuid of its first line.
    """

    def __init__(self, file: Path, agent: str | None = None) -> None:
        self.file = file
        self._agent = agent
        self.pieces: dict[str, list[Piece]] = {}
        self.cancelled: set[str] = set()  # steps that the user broke off
        self.lost: dict[str, tuple[str, int]] = {}  # what was left out: (first place, how many lines)
        self._step_of: dict[str, str] = {}  # line -> step
        self._line_of: dict[str, int] = {}  # line -> its number
        self._above: dict[str, str | None] = {}  # step -> the line it hangs on
        self._before: dict[str, str] = {}  # step -> the last line of conversation before it, where a line was lost
        self._passed: dict[str, _Passed] = {}
        self._answers: dict[tuple[bool, str], str] = {}  # message.id -> step
        self._callers: dict[str, str] = {}  # id of a call -> step
        self._side: dict[str, str] = {}  # steps of subagents -> the agent's name
        self._last: dict[bool, str] = {}  # the last line of conversation, of sidechains or not

    def lose(self, reason: str, line: int) -> None:
        """Count something that was left out."""
        place, count = self.lost.get(reason, (f"{self.file.name}:{line}", 0))
        self.lost[reason] = (place, count + 1)

    def take(self, line: int, record: dict[str, Any]) -> None:
        """Take one line in."""
        kind = _kind(record)
        side = self._of_agent(record)
        uuid = cells.text(record.get("uuid")) or (f"line {line}" if kind in ("user", "assistant") else None)
        if uuid is None:
            if kind not in OTHER_LINES:
                self.lose("a line of unknown type", line)
            return
        if uuid in self._line_of:
            return  # written again when a session is resumed or compacted; the first stands
        parent = cells.text(record.get("parentUuid")) if "parentUuid" in record else self._last.get(side)
        self._line_of[uuid] = line
        piece = self._piece(line, record)
        if piece is None:
            boundary = record.get("subtype") == "compact_boundary" or record.get("isCompactSummary") is True
            above = cells.text(record.get("logicalParentUuid")) or parent
            self._passed[uuid] = _Passed(above, line, boundary, self._last.get(side))
            return
        step = self._place(uuid, parent, piece, record, side)
        self._step_of[uuid] = step
        self._last[side] = uuid

    def _of_agent(self, record: dict[str, Any]) -> bool:
        return self._agent is not None or record.get("isSidechain") is True

    def _piece(self, line: int, record: dict[str, Any]) -> Piece | None:
        """Return a line's conversation, None when there is none in it."""
        kind = _kind(record)
        queued = record.get("attachment") if kind == "attachment" else None
        if isinstance(queued, dict) and queued.get("type") == "queued_command":
            return self._queued(line, record, queued)
        if kind not in ("user", "assistant"):
            if kind not in OTHER_LINES:
                self.lose("a line of unknown type", line)
            return None
        if record.get("isCompactSummary") is True:
            self.lose("a compaction summary", line)
            return None
        if record.get("isMeta") is True or record.get("isVisibleInTranscriptOnly") is True:
            self.lose("a line that the app wrote", line)
            return None
        message = record.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(content, (str, list)):
            self.lose("an unreadable message", line)
            return None
        blocks = self._blocks(line, content)
        if kind == "assistant":
            return self._answer(line, record, message, blocks)
        return self._user(line, record, blocks)

    def _blocks(self, line: int, content: str | list[Any]) -> Blocks:
        blocks = read_blocks(content)
        for _ in range(blocks.other):
            self.lose("a block of unknown type", line)
        return blocks

    def _queued(self, line: int, record: dict[str, Any], queued: dict[str, Any]) -> Piece | None:
        """Return what the user wrote while the agent worked; other agents' and the app's messages are left out."""
        origin = queued.get("origin")
        human = queued.get("commandMode", "prompt") == "prompt" and (
            not isinstance(origin, dict) or origin.get("kind", "human") == "human"
        )
        prompt = queued.get("prompt")
        if not human or not isinstance(prompt, (str, list)):
            self.lose("a line that the app wrote", line)
            return None
        return self._user(line, record, self._blocks(line, prompt))

    def _answer(self, line: int, record: dict[str, Any], message: dict[str, Any], blocks: Blocks) -> Piece | None:
        failed = record.get("isApiErrorMessage") is True
        model = cells.text(message.get("model"))
        if model == "<synthetic>" and not failed:
            self.lose("a line that the app wrote", line)
            return None
        error = None
        if failed:
            error, blocks = blocks.text or cells.text(record.get("error")) or "the model call failed", Blocks()
        return Piece(
            role="assistant",
            blocks=blocks,
            line=line,
            at=record.get("timestamp"),
            model=None if model == "<synthetic>" else model,
            stop=cells.text(message.get("stop_reason")),
            error=error,
        )

    def _user(self, line: int, record: dict[str, Any], blocks: Blocks) -> Piece | None:
        if any(text.startswith(INTERRUPTED) for text in blocks.texts):
            self._interrupt(record)
            blocks.texts = [text for text in blocks.texts if not text.startswith(INTERRUPTED)]
        kept = [text for text in blocks.texts if not text.lstrip().startswith(APP_BLOCKS)]
        if len(kept) < len(blocks.texts):
            self.lose("a text that the app wrote", line)
        if any(text.lstrip().startswith(APP_OUTPUT) for text in blocks.texts):
            self._drop_command(cells.text(record.get("parentUuid")))
        blocks.texts = [_typed(text) for text in kept]
        if not (blocks.text or blocks.files or blocks.results):
            return None
        return Piece(role="user", blocks=blocks, line=line, at=record.get("timestamp"))

    def _interrupt(self, record: dict[str, Any]) -> None:
        side = self._of_agent(record)
        parent = cells.text(record.get("parentUuid")) if "parentUuid" in record else self._last.get(side)
        above = self._resolve(parent)
        step = self._step_of.get(above or "")
        if step is not None and self.answered(step):
            self.cancelled.add(step)

    def _drop_command(self, parent: str | None) -> None:
        """Leave out a command whose output this is: the app ran it, the model did not see it."""
        step = self._step_of.get(parent or "")
        if parent is None or step != parent or len(self.pieces[step]) != 1:
            return
        text = self.pieces[step][0].blocks.text
        if text.startswith(("/", "!")):
            piece = self.pieces.pop(step)[0]
            self.lose("a command that the app ran", piece.line)
            del self._step_of[parent]
            self._passed[parent] = _Passed(self._above.pop(step), piece.line, False, None)

    def _place(self, uuid: str, parent: str | None, piece: Piece, record: dict[str, Any], side: bool) -> str:
        """Return the step of a line: that of its answer or of the call it answers, else a new one."""
        step = self._known_step(uuid, piece, record, side)
        if step is None:
            step = uuid
            twin = self._twin(parent, piece)
            if twin is not None:
                return twin
            self.pieces[step], self._above[step] = [], parent
            if UNREADABLE in self.lost and side in self._last:
                self._before[step] = self._last[side]
            if side:
                self._side[step] = cells.text(record.get("agentId")) or self._agent or uuid
        self.pieces[step].append(piece)
        for call in piece.blocks.calls:
            if call.id:
                self._callers.setdefault(call.id, step)
        return step

    def _known_step(self, uuid: str, piece: Piece, record: dict[str, Any], side: bool) -> str | None:
        if piece.role == "assistant":
            message = record.get("message")
            key = cells.text(message.get("id")) if isinstance(message, dict) else None
            if not key or piece.error:
                return None
            step = self._answers.setdefault((side, key), uuid)
            return step if step in self.pieces else None
        called = (self._callers.get(result.call_id or "") for result in piece.blocks.results)
        return next((step for step in called if step is not None), None)

    def _twin(self, parent: str | None, piece: Piece) -> str | None:
        """Return the step that says the same at the same place and moment: a line written twice."""
        previous = self._last.get(False)
        step = self._step_of.get(previous or "")
        if step is None or self._above.get(step) != parent or piece.role != "user" or piece.blocks.results:
            return None
        other = self.pieces[step][0]
        same = other.role == "user" and other.at == piece.at and other.blocks.text == piece.blocks.text
        return step if same and piece.at is not None else None

    def _resolve(self, line: str | None, asking: int | None = None) -> str | None:
        """Return the line of conversation at or above a line; one that is not in the file as it is.

        A boundary of compaction may name a line that was written after it, for the lines it kept are hung on the
        summary; then the line that stood before the boundary is the one above.
        """
        seen: set[str] = set()
        while line is not None and line in self._passed:
            passed = self._passed[line]
            if line in seen:
                return passed.before
            seen.add(line)
            above = passed.parent
            if passed.boundary and (above is None or self._line_of.get(above, passed.line) >= passed.line):
                return self._resolve(passed.before) if passed.before not in seen else None
            line = above
        return line

    def parents(self) -> dict[str, str | None]:
        """Return the step above each step, None at a root; one that the file does not hold by its own name."""
        found: dict[str, str | None] = {}
        for step, above in self._above.items():
            line = self._resolve(above)
            if line is not None and line not in self._step_of and step in self._before:
                line = self._resolve(self._before[step])  # it hung on a line that could not be read
            parent = None if line is None else self._step_of.get(line, line)
            found[step] = None if parent == step else parent
        return found

    def answered(self, step: str) -> bool:
        """Tell whether a step is an answer."""
        return any(piece.role == "assistant" for piece in self.pieces[step])

    def sidechain(self, steps: Sequence[str]) -> bool:
        """Tell whether a path is a subagent's."""
        return steps[0] in self._side

    def agent(self, steps: Sequence[str]) -> str:
        """Return the name of the subagent whose path this is."""
        return self._side[steps[0]]

    def first_line(self, step: str) -> int:
        """Return the number of a step's first line."""
        return self.pieces[step][0].line

    def last_line(self, step: str) -> int:
        """Return the number of a step's last line."""
        return self.pieces[step][-1].line


def _kind(record: dict[str, Any]) -> str:
    kind = record.get("type")
    return kind if isinstance(kind, str) else ""


def _typed(text: str) -> str:
    """Return a command as the user typed it, any other text as it is."""
    shell = _SHELL.fullmatch(text.strip())
    if shell:
        return f"!{shell[1]}"
    stripped = text.lstrip()
    if not stripped.startswith(("<command-name>", "<command-message>")):
        return text
    name, arguments = _COMMAND.search(text), _ARGUMENTS.search(text)
    if name is None:
        return text
    return f"/{name[1].strip().removeprefix('/')} {arguments[1].strip() if arguments else ''}".strip()
