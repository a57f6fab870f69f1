"""One conversation of mapped tables, from its rows: a message a row, or an exchange a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lunar_tune.episodes import Episode, ToolCall
from lunar_tune.sources.core import cells
from lunar_tune.sources.core.blocks import FAILED, Blocks, Result, read_blocks
from lunar_tune.sources.core.conversation import Conversation, finish
from lunar_tune.sources.table_map import words
from lunar_tune.sources.table_map.rows import Row
from lunar_tune.sources.table_map.side_tables import Head, Vote
from lunar_tune.table_map import TableMap

NO = {"", "0", "false", "no", "none", "null"}
YES = {"1", "true", "yes"}
EMPTY = (None, "", "[]", "null")


class Reading:
    """A conversation while it is read; `prompt` is what the map says instead of a column."""

    def __init__(self, spec: TableMap, said: Conversation, votes: Mapping[str, list[Vote]], prompt: str | None) -> None:
        self.spec, self.said, self.votes, self.prompt = spec, said, votes, prompt
        self.row: Row | None = None  # that is being read
        self.problem: str | None = None  # what of the row could not be read and was part of what was said

    def head(self, head: Head) -> None:
        """Take what is said of the conversation as a whole."""
        self.said.system = cells.text(head.system)
        self.said.model = cells.text(head.model)
        if head.tools in EMPTY:
            return
        try:
            specs, lost = cells.tool_specs(cells.parse_json(head.tools))
        except ValueError:
            specs, lost = [], 1
        self.said.offer(specs)
        if lost and self.spec.threads is not None:
            self.said.lost("unreadable tool", f"{self.spec.threads.table}.{self.spec.threads.tools}: {lost}")

    def episode(self, rows: Iterable[Row]) -> Episode | None:
        """Return the episode of the rows, None (reported) when none could be read."""
        take = self._message if self.spec.role else self._exchange
        for row in rows:
            self.row, self.problem = row, None
            if row.system is not None:
                self.said.system = self.said.system or cells.text(row.system)
            take(row)
        self.said.system = self.said.system or self.prompt
        return self.said.episode()

    def _message(self, row: Row) -> None:
        role = words.role(row.role, self.spec)
        if role is None:
            self._lost("a message of unknown role")
            return
        blocks = self._content(row.content)
        if role == "assistant":
            index = self._answer(blocks, row)
            self._results(blocks.results, row)
        elif role == "tool":
            own = [] if blocks.results else [Result(None, blocks.text, files=tuple(blocks.files))]
            index = self._results([*blocks.results, *own], row)
        else:
            index = self._results(blocks.results, row)  # a user's message may begin with what its tools gave
            if blocks.text or blocks.files or not blocks.results:
                index = self.said.say(role, blocks.text, at=row.time, error=self._error(row), attachments=blocks.files)
        if index is not None:
            self._judge(row, index)

    def _exchange(self, row: Row) -> None:
        """Take a row that holds a request and its answer."""
        request, answer = self._content(row.prompt), self._content(row.answer)
        if request.text or request.files:
            self.said.say("user", request.text, at=row.time, attachments=request.files)
        said = answer.text or answer.files or answer.calls or answer.results
        if said or self._error(row) or row.tool_calls not in EMPTY or row.tool_name not in EMPTY:
            index = self._answer(answer, row)
            self._results(answer.results, row)
            if index is not None:
                self._judge(row, index)

    def _answer(self, blocks: Blocks, row: Row) -> int | None:
        """Add what the assistant said; a row that is but a call belongs to the turn that is going on."""
        text, thought = cells.split_thinking(blocks.text)
        thoughts = [part for part in (cells.text(row.reasoning), blocks.reasoning, thought) if part]
        calls, single = self._calls(row)
        error, model = self._error(row), cells.text(row.model)
        if single is not None and not (text or thoughts or blocks.files or blocks.calls or calls or error):
            return self.said.call(single, at=row.time, model=model)
        return self.said.say(
            "assistant",
            text,
            at=row.time,
            model=model,
            error=error,
            ended=finish(row.finish),
            reasoning="\n".join(thoughts),
            attachments=blocks.files,
            calls=[*blocks.calls, *calls, *([single] if single is not None else [])],
        )

    def _results(self, results: Iterable[Result], row: Row) -> int | None:
        index = None
        for result in results:
            index = self.said.result(
                result.content,
                call_id=result.call_id or row.tool_call_id,
                name=result.name or row.tool_name,
                at=row.time,
                error=result.error or self._error(row, FAILED),
                attachments=result.files,
            )
        return index

    def _content(self, cell: Any) -> Blocks:
        """Return the content of a cell: text, or a JSON list of content blocks."""
        text = cells.text(cell)
        if text is None:
            if cell is not None:
                self._lost("content that is no text", "unreadable content")
            return Blocks()
        if text.lstrip().startswith("["):
            try:
                listed = cells.parse_json(text)
            except ValueError:
                return Blocks(texts=[text])
            if isinstance(listed, list) and any(isinstance(part, dict) and "type" in part for part in listed):
                blocks = read_blocks(listed)
                if blocks.other:
                    self._lost("a block of unknown type")
                return blocks
        return Blocks(texts=[text])

    def _calls(self, row: Row) -> tuple[list[ToolCall], ToolCall | None]:
        """Return the calls that a row lists, and the one that it has columns for."""
        listed: list[ToolCall] = []
        if row.tool_calls not in EMPTY:
            try:
                listed = cells.call_list(cells.parse_json(row.tool_calls))
            except ValueError:
                self._lost("unreadable tool calls", "unreadable tool calls")
        if row.tool_name and self.spec.tool_arguments and not listed:
            arguments = row.tool_arguments
            if isinstance(arguments, bytes):
                arguments = cells.text(arguments)
                if arguments is None:
                    self._lost("arguments that are no text", "unreadable tool calls")
            return [], cells.call(row.tool_name, arguments, row.tool_call_id)
        return listed, None

    def _lost(self, reason: str, problem: str | None = None) -> None:
        """Report something of the row; a `problem` is what makes the message itself one that is not whole."""
        self.said.lost(reason, f"{self.spec.table}.{self.row.place}" if self.row is not None else self.spec.table)
        self.problem = problem or self.problem

    def _error(self, row: Row, failed: str = "the log says that it failed") -> str | None:
        """Return the error of a row; a column of yes and no says only that there was one."""
        if row.error is None:
            return self.problem
        said = words.word(row.error).lower()
        if said in NO and len(str(row.error)) <= words.LONGEST:
            return self.problem
        return failed if said in YES else cells.text(row.error) or failed

    def _judge(self, row: Row, index: int) -> None:
        if row.rating not in (None, ""):
            rating = words.rating(row.rating, self.spec)
            if rating is not None:
                self.said.judge("rating", rating, index, cells.text(row.rating_note))
            else:
                self._lost("a rating that is no number")
        for vote in self.votes.get(words.name(row.id), ()) if self.votes else ():
            vote.used = True
            rating = words.rating(vote.rating, self.spec)
            if rating is not None:
                self.said.judge("rating", rating, index, cells.text(vote.note))
            elif vote.rating not in (None, ""):
                self.said.lost("a rating that is no number", vote.place)
