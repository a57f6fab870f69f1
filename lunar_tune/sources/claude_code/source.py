"""Claude Code's sessions: `~/.claude/projects/<project>/<session>.jsonl`, subagents in `agent-*.jsonl` files.

The format is not documented; this follows what public readers of it agree on (versions up to 2.1): lines of type `user`
and `assistant` form a tree by `uuid` and `parentUuid`; one answer is spread over several lines with the same
`message.id`; results are `user` lines of `tool_result` blocks; `isSidechain` marks subagents; a `compact_boundary` goes
on from its `logicalParentUuid`, and `isCompactSummary` marks the summary, which is left out. Lines of other types are
counted where they are not known. See `steps` for how the lines become a tree of turns.

The path that was written last is the session; a path that the user went back from is an episode of its own, its
answers marked `undo`. A session, its subagents, and the sessions forked or resumed from it are one family: a resumed
session begins with a copy of the same line, whose uuid names the family, and a forked one says where from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Episode, Finish
from lunar_tune.seams import Report
from lunar_tune.sources.claude_code.steps import Piece, Steps
from lunar_tune.sources.core import cells, jsonl, trees
from lunar_tune.sources.core.conversation import Conversation, finish

BROKEN = {
    "cycle": "a chain of messages that closes on itself",
    "missing parent": "a message that hangs on one that is not there",
}
OURS = {  # lines that only this format has
    "summary": "leafUuid",
    "file-history-snapshot": "messageId",
    "queue-operation": "sessionId",
}
AGENT = "agent-"  # how the files of subagents begin
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class ClaudeCodeSource:
    """Reads the session files of a project or of all projects."""

    name = "claude-code"
    lacks = "the system prompt, tool schemas and ratings"

    def places(self) -> list[Path]:
        """Return the folder of all projects."""
        set_by_user = os.environ.get("CLAUDE_CONFIG_DIR")
        return [(Path(set_by_user) if set_by_user else Path.home() / ".claude") / "projects"]

    def recognises_path(self, path: Path) -> bool:
        """Tell from the first lines of a file, or of a folder's first files, whether they are sessions."""
        return jsonl.recognises(path, _is_ours)

    def threads_path(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yield each family with the names, sizes and times of change of its files."""
        return jsonl.threads(path, _head)

    def read_path(self, path: Path, report: Report, only: Collection[str] | None = None) -> Iterator[Episode]:
        """Yield one episode a leaf of each session, in the order of their start."""
        return jsonl.read(path, _head, only, lambda head, family: _read_file(head, family, report))


def _is_ours(record: dict[str, Any]) -> bool:
    kind = record.get("type")
    if kind in ("user", "assistant"):
        turn = isinstance(record.get("message"), dict) and "uuid" in record
        return turn and ("sessionId" in record or "parentUuid" in record)
    return isinstance(kind, str) and OURS.get(kind, "type of no other") in record


def _head(file: Path) -> jsonl.Head:
    """Read a file up to its first turn that is neither a subagent's nor the app's; a subagent's up to its first."""
    stem, part = jsonl.stem(file), _agent(file) is not None
    sessions: dict[str, None] = {}
    times: list[Any] = []
    origin, first = None, ""
    for record in jsonl.first_lines(file):
        times.append(record.get("timestamp"))
        if session := cells.text(record.get("sessionId")):
            sessions.setdefault(session)
        if not part:
            origin = origin or cells.text(cells.mapping(record.get("forkedFrom")).get("sessionId"))
        aside = not part and (record.get("isSidechain") is True or record.get("isMeta") is True)
        if record.get("type") in ("user", "assistant") and not aside:
            first = "" if part else cells.text(record.get("uuid")) or ""
            break
    start = jsonl.earliest(times)
    if part:
        folder = file.parent.parent.name if file.parent.name == "subagents" else stem
        return jsonl.Head(file, next(iter(sessions), folder), start=start)
    session = stem if stem in sessions or _UUID.fullmatch(stem) else next(iter(sessions), stem)
    return jsonl.Head(file, session, origin, first, start)


def _agent(file: Path) -> str | None:
    """Return the name of the subagent whose file this is."""
    stem = jsonl.stem(file)
    return stem.removeprefix(AGENT) if stem.startswith(AGENT) else None


def _read_file(head: jsonl.Head, family: str, report: Report) -> Iterator[Episode]:
    """Yield the episodes of one file: its session's paths, and its sidechains'."""
    file, session = head.file, head.session
    steps = Steps(file, _agent(file))
    for number, record in jsonl.records(file, steps.lose):
        steps.take(number, record)
    for reason, (place, count) in steps.lost.items():
        report(Verdict(session, "read", reason, place if count == 1 else f"{place} and {count - 1} more"))
    if not steps.pieces:
        report(Verdict(session, "read", "a conversation without messages", file.name))
        return
    found = [episode for episode in _episodes(steps, head, family, report) if episode is not None]
    yield from sorted(found, key=lambda episode: episode.started_at or "")


def _episodes(steps: Steps, head: jsonl.Head, family: str, report: Report) -> Iterator[Episode | None]:
    """Yield the episode of every path; the newest of the session, and of each sidechain, bears the plain name."""
    parents = steps.parents()
    newest: dict[str, tuple[str, ...]] = {}
    for branch in trees.leaf_paths(parents):  # made anew below: all paths of a long session are not held at once
        tree = _tree(steps, branch.nodes)
        if tree not in newest or steps.last_line(branch.nodes[-1]) > steps.last_line(newest[tree][-1]):
            newest[tree] = branch.nodes
    broken: set[str] = set()
    for branch in trees.leaf_paths(parents):
        nodes, kept = branch.nodes, newest[_tree(steps, branch.nodes)]
        thread = head.session + (f"#agent-{steps.agent(nodes)}" if steps.sidechain(nodes) else "")
        shared = len(nodes)
        if kept[-1] != nodes[-1]:
            thread, shared = f"{thread}#{nodes[-1]}", _common(nodes, kept)
            if not any(steps.answered(node) for node in nodes[shared:]):
                place = f"{head.file.name}:{steps.last_line(nodes[-1])}"
                report(Verdict(thread, "read", "a branch without an answer", place))
                continue
        if branch.problem and nodes[0] not in broken:
            broken.add(nodes[0])
            report(Verdict(thread, "read", BROKEN[branch.problem], f"{head.file.name}:{steps.first_line(nodes[0])}"))
        said = Conversation(ClaudeCodeSource.name, head.file, thread, report, group=family)
        yield _render(steps, nodes, shared or len(nodes), said)


def _tree(steps: Steps, nodes: tuple[str, ...]) -> str:
    return steps.agent(nodes) if steps.sidechain(nodes) else ""


def _common(nodes: tuple[str, ...], other: tuple[str, ...]) -> int:
    same = 0
    for one, two in zip(nodes, other, strict=False):
        if one != two:
            break
        same += 1
    return same


def _render(steps: Steps, nodes: tuple[str, ...], shared: int, said: Conversation) -> Episode | None:
    """Return the episode of a path; what comes after its first `shared` turns was taken back."""
    for number, node in enumerate(nodes):
        if number == shared:
            taken_back = len(said.messages)
        _turn(said, steps.pieces[node], "cancelled" if node in steps.cancelled else None)
    if shared < len(nodes):
        jsonl.undo_from(said, taken_back)
    return said.episode()


def _turn(said: Conversation, pieces: list[Piece], ended: Finish | None) -> None:
    """Add one answer with its results, or one message of the user."""
    answer = [piece for piece in pieces if piece.role == "assistant"]
    if answer:
        calls = {call.id or f"{n}": call for n, call in enumerate(c for p in answer for c in p.blocks.calls)}
        texts = dict.fromkeys(text for piece in answer for text in piece.blocks.texts if text)
        thoughts = dict.fromkeys(thought for piece in answer for thought in piece.blocks.thoughts if thought)
        stop = next((piece.stop for piece in reversed(answer) if piece.stop), None)
        error = next((piece.error for piece in answer if piece.error), None)
        if texts or thoughts or calls or error or ended:
            said.say(
                "assistant",
                "\n".join(texts),
                at=answer[0].at,
                model=answer[0].model,
                error=error,
                ended=ended or (None if error else finish(stop)),
                reasoning="\n".join(thoughts),
                attachments=[file for piece in answer for file in piece.blocks.files],
                calls=calls.values(),
            )
    for piece in pieces:
        for result in piece.blocks.results:
            said.result(
                result.content,
                call_id=result.call_id,
                name=result.name,
                at=piece.at,
                error=result.error,
                attachments=result.files,
            )
    for piece in pieces:
        if piece.role == "user" and (piece.blocks.text or piece.blocks.files):
            said.say("user", piece.blocks.text, at=piece.at, attachments=piece.blocks.files)
