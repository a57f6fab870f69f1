"""The words of a dataset's rows as numbers: what comparing rows with each other reads, a few bytes a word.

What is compared is what people asked and what was answered, calls included; prompts, schemas and what tools returned
are not: an agent's conversations share them by nature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lunar_tune.episodes import Message, ToolCall

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Hashes = NDArray[numpy.uint64]
    Numbers = NDArray[numpy.int32]
    Ints = NDArray[numpy.int64]
    Arrays = tuple[Numbers, Ints, Numbers]

LONG_REQUEST = 13  # words; a request this long that comes twice is a copy, not a coincidence
VALUE_WORDS = 4  # of the longest argument that is compared as one, "Rome" with "Rome"
TEXT_AT_ONCE = 1 << 19  # bytes
BREAK = 0  # stands between turns: no sequence of words goes over it

_SPACED = bytes(ord(chr(c).lower()) if c < 128 and (chr(c).isalnum() or chr(c) == "_") else 32 for c in range(256))
_LETTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # written without spaces: a letter is a word
_ANY = re.compile(rf"[{_LETTERS}]|[^\W{_LETTERS}]+")
WORD, VALUE, TURN = b" ", b"\xfd", b"\xfe"  # what stands between; the latter two are in no UTF-8 text


def plain(text: str) -> bytes:
    """Return the words of a text for comparing, in UTF-8 with spaces between: case and punctuation are gone."""
    if text.isascii():
        return text.encode().translate(_SPACED)
    return " ".join(_ANY.findall(text.casefold())).encode("utf-8", "surrogatepass")


def words(text: str) -> list[str]:
    """Return the words of a text for comparing."""
    return plain(text).decode("utf-8", "surrogatepass").split()


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a call's arguments as texts, each with the name of the argument, by name."""
    if isinstance(value, dict):
        for name in sorted(value):
            inner = value[name]
            if type(inner) is str:
                yield str(name), inner
            else:
                yield from leaves(inner, str(name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item, key)
    elif value is not None:
        yield key, str(value)


def spoken(arguments: dict[str, Any]) -> list[str]:
    """Return the words of a call's arguments, names and values."""
    said: list[bytes] = []
    _hear(arguments, said, [])
    return WORD.join(said).decode("utf-8", "surrogatepass").split()


@dataclass(slots=True)
class Turn:
    """What was said in a user or assistant turn, in words with spaces between: its content, its calls' arguments.

    `values` are the names of the called tools and the arguments, each in one: `=city rome`, and a text of more than a
    few words by its words. `words` are those of a request.
    """

    role: str
    content: bytes
    called: bytes = b""
    values: Sequence[bytes] = ()
    words: Sequence[str] = ()

    @property
    def given(self) -> set[str]:
        """The words of the values that tools were called with."""
        said = b" ".join([value.partition(b" ")[2] for value in self.values])
        return set(said.decode("utf-8", "surrogatepass").split())


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """Return the user and assistant turns of a conversation."""
    found = []
    for message in messages:
        role = message.role
        if role == "user" or role == "assistant":
            turn = Turn(role, plain(message.content) if message.content else b"")
            if role == "user":
                turn.words = turn.content.decode("utf-8", "surrogatepass").split()
            if message.tool_calls:
                turn.called, turn.values = _called(message.tool_calls)
            found.append(turn)
    return found


def _called(calls: Sequence[ToolCall]) -> tuple[bytes, list[bytes]]:
    """Return the words of calls' arguments, and their values."""
    said: list[bytes] = []
    values: list[bytes] = []
    for call in calls:
        values.append(f"={call.name}".encode("utf-8", "surrogatepass"))
        _hear(call.arguments, said, values)
    return WORD.join(said), values


def _hear(arguments: dict[str, Any], said: list[bytes], values: list[bytes]) -> None:
    """Add the words of a call's arguments to what was said, and its values."""
    key = ""
    for name, text in leaves(arguments):
        title, prefix = _name(name)
        if name != key:
            said.append(title)
            key = name
        heard = text.encode().translate(_SPACED) if text.isascii() else plain(text)
        said.append(heard)
        parts = heard.split()
        if len(parts) <= VALUE_WORDS:
            values.append(prefix + b" ".join(parts))
        else:
            values += [prefix + part for part in parts]


@lru_cache(maxsize=4096)
def _name(name: str) -> tuple[bytes, bytes]:
    """Return the words of an argument's name, and what its values begin with."""
    return plain(name), f"={name} ".encode("utf-8", "surrogatepass")


class Corpus:
    """The words of every row, in the order in which the rows were added.

    A row's documents are what near-duplicates are looked for among: its whole task (requests and calls), each long
    request of several with its calls, and the whole with its answers. They are sets of numbers of words and values.
    """

    def __init__(self) -> None:
        from lunar_tune.dataset.grouping.batch import Batch
        from lunar_tune.dataset.grouping.vocabulary import Vocabulary

        self.vocabulary = Vocabulary(TURN)
        self._said, self._ends = Pieces(), Pieces()
        self._wholes, self._tasks = Documents(), Documents()
        self._rows = 0
        self._spread: Ints | None = None
        self._batch, self._new_batch = Batch(), Batch

    def __len__(self) -> int:
        return self._rows

    def add(self, turns: Sequence[Turn]) -> None:
        """Add a row."""
        self._rows += 1
        self._batch.add(turns)
        if self._batch.size >= TEXT_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch = self._batch, self._new_batch()
        if batch.row_ends:
            first = self._rows - len(batch.row_ends)
            said, ends, wholes, tasks = batch.numbered(self.vocabulary)
            self._ends.add(self._said.size + ends)
            self._said.add(said)
            self._wholes.add(first, *wholes)
            self._tasks.add(first, *tasks)

    def said(self) -> tuple[Numbers, Ints]:
        """Return the words of all rows, `BREAK` after every turn, and where each row ends."""
        import numpy

        self._flush()
        return self._said.array(numpy.int32), self._ends.array(numpy.int64)

    def wholes(self) -> Arrays:
        """Return the set of all words and values of every row, sorted: (numbers, where each row ends, the row)."""
        self._flush()
        return self._wholes.arrays()

    def tasks(self) -> Arrays:
        """Return the sets of what was asked for, sorted: (numbers, where each ends, its row).

        The first of a row is all of it; the others, if any, are single long requests.
        """
        self._flush()
        return self._tasks.arrays()

    def spread(self) -> Ints:
        """Return in how many rows each word and value stands, by its number; all rows are added by then."""
        from lunar_tune.dataset.grouping.batch import counted

        if self._spread is None:
            numbers = self.wholes()[0]
            self._spread = counted(numbers, len(self.vocabulary))
        return self._spread

    def drop_documents(self) -> None:
        """Give the memory of the sets back, for what needs `said` and `spread` only."""
        self.spread()
        self._wholes, self._tasks = Documents(), Documents()


class Pieces:
    """An array that grows by pieces."""

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self.size = 0

    def add(self, piece: NDArray[Any]) -> None:
        """Add a piece at the end."""
        self._pieces.append(piece)
        self.size += len(piece)

    def array(self, kind: Any) -> Any:
        """Return all of it."""
        import numpy

        if len(self._pieces) != 1:
            self._pieces = [numpy.concatenate([numpy.empty(0, kind), *self._pieces])]
        return self._pieces[0]


class Documents:
    """Sets of numbers, each of a row; a row may have several."""

    def __init__(self) -> None:
        self._numbers, self._ends, self._rows = Pieces(), Pieces(), Pieces()

    def add(self, first: int, numbers: Numbers, ends: Ints, rows: Numbers) -> None:
        """Add documents of rows that are counted from `first` on."""
        self._ends.add(self._numbers.size + ends)
        self._numbers.add(numbers)
        self._rows.add(rows + first)

    def arrays(self) -> Arrays:
        """Return (numbers, where each document ends, its row)."""
        import numpy

        return self._numbers.array(numpy.int32), self._ends.array(numpy.int64), self._rows.array(numpy.int32)
