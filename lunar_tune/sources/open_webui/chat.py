"""One chat of Open WebUI: its messages from the JSON and the rows, joined into a tree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.seams import Report
from lunar_tune.sources.core import cells, keyed
from lunar_tune.sources.core.trees import Branch
from lunar_tune.sources.open_webui.message import Node, parent

CHAT = ("id", "user_id", "chat", "created_at", "meta", "folder_id", "current_message_id")
MESSAGE = (
    "id", "role", "parent_id", "content", "output", "model_id", "files", "done", "error", "context_summary",
    "created_at",
)  # fmt: skip
JSON_CELLS = ("content", "output", "files", "error")
# the names that the JSON has for the rows' columns
NAMES = {"parent_id": "parentId", "model_id": "model", "context_summary": "contextSummary", "created_at": "timestamp"}
CELLS = tuple((column, NAMES.get(column, column), column in JSON_CELLS) for column in MESSAGE[1:])


class Chat:
    """A chat; `nodes` are its messages by key, in the order in which they stand in the log."""

    def __init__(self, row: Sequence[Any], rows: Sequence[Sequence[Any]], report: Report) -> None:
        """Read a chat's `CHAT` and its messages' `MESSAGE` cells."""
        key, user, blob, created, meta, folder, current = row
        self.id, self.report = keyed.name(key), report
        self.user = cells.text(user) or ""
        """Whose chat it is; the copy behind a shared link belongs to `shared-<chat>`."""
        self.started_at, self.folder = cells.timestamp(created), cells.text(folder)
        self.blob, self.meta = self._object(blob, "chat"), self._object(meta, "meta")
        self.nodes: dict[str, Node] = {}
        history = cells.mapping(self.blob.get("history"))
        self._named = (history.get("currentId"), current)
        self._from_json(history.get("messages"))
        if rows:
            self._from_rows(rows)
        elif not self.nodes and not history.get("messages"):
            self._from_list(self.blob.get("messages"))
        self.parents = {key: parent(node.said) for key, node in self.nodes.items()}
        """The tree, as `trees` takes it."""

    @property
    def internal(self) -> bool:
        """Whether the app keeps it for itself."""
        return self.meta.get("internal") is True

    @property
    def copied_from(self) -> str | None:
        """The chat that it was copied or branched from."""
        return origin(self.blob, self.meta)

    @property
    def system(self) -> str | None:
        """The prompt of the chat, else that of its user when it was begun."""
        params = self.blob.get("params")
        found = (params.get("system") if isinstance(params, dict) else None, self.blob.get("system"))
        return next((prompt for prompt in found if isinstance(prompt, str) and prompt.strip()), None)

    def lost(self, reason: str, place: str) -> None:
        """Report something that could not be read."""
        self.report(Verdict(self.id, "read", reason, place))

    def selected(self, branches: Sequence[Branch[str]]) -> Branch[str] | None:
        """Return the path on screen: through the current message to its newest leaf, else to the newest of all."""
        current = next((key for key in self._named if isinstance(key, str) and key in self.nodes), None)
        if current is None and any(self._named) and self.nodes:
            self.lost("the current message is gone", f"chat.chat={self.id}")
        through = [branch for branch in branches if current in branch.nodes] or list(branches)
        if len(through) < 2:
            return through[0] if through else None
        return max(enumerate(through), key=lambda b: (self.nodes[b[1].nodes[-1]].moment, b[0]))[1]

    def _object(self, cell: Any, column: str) -> dict[str, Any]:
        if cell in (None, "", "null"):
            return {}
        try:
            value = cells.parse_json(cell)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.lost(f"unreadable {column}", f"chat.{column}={self.id}")
            return {}
        return value

    def _from_json(self, messages: Any) -> None:
        """Take the tree."""
        place = f"chat.chat={self.id}"
        if not isinstance(messages, dict):
            if messages:
                self.lost("unreadable messages", place)
            return
        for key, message in messages.items():
            if isinstance(message, dict):
                self.nodes[key] = Node(key, message, f"{place}:{key}")
            else:
                self.lost("unreadable message", f"{place}:{key}")

    def _from_list(self, messages: Any) -> None:
        """Take the flat list of the oldest chats; in all others it is a stale copy."""
        place, before = f"chat.chat={self.id}", None
        if messages and not isinstance(messages, list):
            self.lost("unreadable messages", place)
            return
        for number, message in enumerate(messages or ()):
            if not isinstance(message, dict):
                self.lost("unreadable message", f"{place}:{number}")
                continue
            own = message.get("id")
            key = str(own) if isinstance(own, (str, int)) and own and str(own) not in self.nodes else f"#{number}"
            self.nodes[key] = Node(key, {**message, "parentId": before}, f"{place}:{key}")
            before = key

    def _from_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add what the rows say, which wins over the JSON."""
        seen: set[str] = set()
        prefix = f"{self.id}-"
        for rowid, whole, *cells_of in rows:
            named = cells.text(whole)
            key, place = (named.removeprefix(prefix), f"={named}") if named else (f"rowid-{rowid}", f".rowid={rowid}")
            if key in seen:
                self.lost("a message whose id is taken", f"chat_message.rowid={rowid}")
                continue
            seen.add(key)
            node = self.nodes.get(key)
            if node is None:
                node = self.nodes[key] = Node(key, {}, f"chat_message.id{place}" if named else f"chat_message{place}")
            self._from_row(node, cells_of, place)

    def _from_row(self, node: Node, cells_of: Sequence[Any], place: str) -> None:
        for value, (column, name, is_json) in zip(cells_of, CELLS, strict=True):
            if value is None or value == "":
                continue
            if is_json:
                try:
                    value = cells.parse_json(value)
                except ValueError:
                    self.lost(f"unreadable {column}", f"chat_message.{column}{place}")
                    if column in ("content", "output") and not node.said.get(column):
                        node.problem = f"unreadable {column}"
                    continue
            if value not in (None, "", []):
                node.said[name] = value


def origin(blob: Mapping[str, Any], meta: Mapping[str, Any]) -> str | None:
    """Return the chat that one was copied or branched from."""
    named = (blob.get("originalChatId"), meta.get("forked_from"))
    return next((key for key in named if isinstance(key, str) and key), None)


def superseded(chat: Chat, current: Collection[str]) -> set[str]:
    """Return the answers that were asked for again and not kept.

    Answers compete when they answer the same message for the same of the models that were asked together. The one on
    screen is kept, else the newest.
    """
    rivals: dict[tuple[str, Any], list[Node]] = {}
    for key, asking in chat.parents.items():
        node = chat.nodes[key]
        if asking is not None and asking in chat.nodes and node.role == "assistant":
            asked = chat.nodes[asking].said.get("models")
            several = isinstance(asked, list) and len(asked) > 1
            slot = node.said.get("modelIdx") if several else None
            slot = node.model if several and not isinstance(slot, int) else slot
            rivals.setdefault((asking, slot), []).append(node)
    lost: set[str] = set()
    on_screen = set(current)
    for group in rivals.values():
        if len(group) > 1:
            kept = next((n for n in group if n.key in on_screen), None) or max(reversed(group), key=lambda n: n.moment)
            lost.update(n.key for n in group if n is not kept)
    return lost
