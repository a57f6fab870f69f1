"""Log-probabilities under a GGUF: llama.cpp (cyllama) in a process of its own.

`GgufScorer` is a context manager and a `seams.Scorer`. Parent and child exchange frames over the child's standard
input and output: one kind byte, the payload's length (8 bytes, little-endian), the payload. Rows are scored one by one
in an empty cache, so the same row gives the same floats whatever came before it. Cache and attention are those that
llama-server uses by default (16-bit keys and values). The child ends when its input closes.
"""

from __future__ import annotations

import array
import contextlib
import importlib.util
import os
import queue
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

import lunar_tune
from lunar_tune.artefacts import TokenRow
from lunar_tune.errors import MissingExtra, RuntimeFailure

BATCH = 512  # tokens decoded at a time; llama.cpp's own physical batch
STOP_TIMEOUT = 5.0  # seconds
LAST_WORDS = 8  # lines
_READY, _SCORE, _LOGITS, _ERROR = b"R", b"S", b"L", b"E"
_HEAD = struct.Struct("<cQ")
_COUNTS = struct.Struct("<II")  # ids, positions

FloatRows = npt.NDArray[np.float32]


class GgufScorer:
    """A GGUF that scores token rows.

    Args:
        gguf: the model file.
        context: most tokens of a row.
        threads: CPU threads; 0 takes all.
    """

    def __init__(self, gguf: Path, *, context: int, threads: int = 0) -> None:
        self.gguf, self.context, self.threads = gguf, context, threads or os.cpu_count() or 1
        self.vocab = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None

    # -- life --

    def start(self) -> Self:
        """Start the child and wait until the model is loaded.

        Raises:
            MissingExtra: cyllama is not installed.
            RuntimeFailure: the model cannot be loaded; the hint ends with the child's last words.
        """
        if importlib.util.find_spec("cyllama") is None:
            raise MissingExtra("cyllama", "llamacpp")
        if not self.gguf.is_file():
            raise RuntimeFailure(f"There is no model file {str(self.gguf)!r}.", "`lunar-tune export` writes one.")
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        self._process = _spawn(self.gguf, self.context, self.threads, self._words)
        try:
            self.vocab = struct.unpack("<I", self._receive(f"The model {str(self.gguf)!r} could not be loaded"))[0]
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the child; safe to call twice."""
        process, self._process = self._process, None
        words, self._words = self._words, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        if words is not None:
            words.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id, None when it is not running."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    # -- scoring --

    def score(self, rows: Sequence[TokenRow]) -> list[list[float]]:
        """Return, for each row, the natural-log probability of each supervised token given all before it.

        Raises:
            ValueError: a row's first token is supervised; nothing stands before it.
            RuntimeFailure: a row is longer than the context, an id is not in the vocabulary, or the child failed.
        """
        return [self._score(row) for row in rows]

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> FloatRows:
        """Return the logits that follow the tokens at `positions`: float32 [len(positions), vocab].

        Raises:
            IndexError: a position is outside the row.
            RuntimeFailure: as in `score`.
        """
        if any(not 0 <= position < len(ids) for position in positions):
            raise IndexError(f"positions must be from 0 to {len(ids) - 1}")
        if not positions:
            return np.empty((0, self.vocab), np.float32)
        answer = self._ask(_LOGITS, ids[: max(positions) + 1], positions)
        return np.frombuffer(answer, np.float32).reshape(len(positions), self.vocab)

    def _score(self, row: TokenRow) -> list[float]:
        targets = [index for index, supervised in enumerate(row.mask) if supervised]
        if not targets:
            return []
        if targets[0] == 0:
            raise ValueError(f"row {row.id}: nothing stands before the first token, so it cannot be supervised")
        scores = np.frombuffer(self._ask(_SCORE, row.ids[: targets[-1] + 1], targets), np.float64)
        if not np.isfinite(scores).all():
            raise RuntimeFailure(f"The model {str(self.gguf)!r} gives probabilities that are no numbers.")
        return [float(score) for score in scores]

    def _ask(self, kind: bytes, ids: Sequence[int], positions: Sequence[int]) -> bytes:
        if self._process is None:
            raise RuntimeFailure("The scorer is not running.")
        if len(ids) > self.context:
            raise RuntimeFailure(
                f"A row of {len(ids)} tokens does not fit a context of {self.context}.",
                "Give the scorer a longer context.",
            )
        if not 0 <= min(ids) <= max(ids) < self.vocab:
            raise RuntimeFailure(
                f"A row holds token {max(ids)}; the model {str(self.gguf)!r} has {self.vocab} tokens.",
                "The rows were made with another tokenizer: tokenize them again for this model.",
            )
        payload = _COUNTS.pack(len(ids), len(positions)) + np.array([*ids, *positions], "<i4").tobytes()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead child is reported by its silence
            _send(self._process.stdin, kind, payload)
        return self._receive("The scorer failed")

    def _receive(self, what: str) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        frame = _frame(self._process.stdout)
        if frame is None:
            code = self._process.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
            raise RuntimeFailure(f"{what}: its process {how}.", self._last_words())
        kind, payload = frame
        if kind == _ERROR:
            raise RuntimeFailure(f"{what}: {payload.decode('utf-8', 'replace')}.", self._last_words())
        return payload

    def _last_words(self) -> str:
        assert self._words is not None
        self._words.seek(0)
        lines = [line[:300] for line in self._words.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return "Its last words:\n" + "\n".join(f"  {line}" for line in lines[-LAST_WORDS:]) if lines else ""


def _spawn(gguf: Path, context: int, threads: int, words: IO[bytes]) -> subprocess.Popen[bytes]:
    package = str(Path(lunar_tune.__file__).resolve().parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "lunar_tune.runtimes.scoring", str(gguf.resolve()), str(context), str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def _send(stream: IO[bytes], kind: bytes, payload: bytes) -> None:
    stream.write(_HEAD.pack(kind, len(payload)))
    stream.write(payload)
    stream.flush()


def _frame(stream: IO[bytes]) -> tuple[bytes, bytes] | None:
    """Return the next frame, None where the stream ends."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    payload = stream.read(length)
    return (kind, payload) if len(payload) == length else None


# -- the child --


class _Llama:
    """A loaded model and one context."""

    def __init__(self, gguf: str, context: int, threads: int) -> None:
        from cyllama.llama import llama_cpp

        class Model(llama_cpp.LlamaModel):  # type: ignore[misc]
            # cyllama 0.2.18 reads the length of a row of logits from this attribute, which its own class lacks
            n_vocab = property(lambda self: self.get_vocab().n_vocab)

        params = llama_cpp.LlamaContextParams()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = self._batch_size = min(BATCH, context)
        params.n_threads = params.n_threads_batch = threads
        self._model = Model(gguf, llama_cpp.LlamaModelParams(), False)
        self._context = llama_cpp.LlamaContext(self._model, params, False)
        self._batch = llama_cpp.LlamaBatch(n_tokens=self._batch_size, embd=0, n_seq_max=1)
        self._cached: list[int] = []
        self.vocab = int(self._model.n_vocab)

    def logits(self, ids: Sequence[int], wanted: set[int]) -> Any:
        """Yield (position, float32 logits) for the wanted positions in rising order.

        Whole batches at the beginning that the last row had too are not computed again: the floats are the same.
        """
        begin = self._keep(ids, min(wanted, default=0))
        for start in range(begin, len(ids), self._batch_size):
            piece = range(start, min(start + self._batch_size, len(ids)))
            self._batch.clear()
            for position in piece:
                self._batch.add(ids[position], position, [0], position in wanted)
            self._context.decode(self._batch)
            self._cached += ids[start : piece.stop]
            for position in piece:
                if position in wanted:
                    row = self._context.get_logits_ith(
                        position - start
                    )  # a list; array reads it twice as fast as numpy
                    yield position, np.frombuffer(array.array("f", row), np.float32)

    def _keep(self, ids: Sequence[int], most: int) -> int:
        """Cut the cache to the whole batches, of at most `most` tokens, that `ids` has too; return its tokens."""
        pairs = zip(self._cached, ids, strict=False)
        shared = next((place for place, (old, new) in enumerate(pairs) if old != new), min(len(self._cached), len(ids)))
        kept = min(shared, most) // self._batch_size * self._batch_size
        del self._cached[kept:]
        if not (kept and self._context.memory_seq_rm(0, kept, -1)):
            self._cached.clear()
            self._context.kv_cache_clear(True)
        return len(self._cached)


def _answer(llama: _Llama, kind: bytes, ids: list[int], positions: list[int]) -> bytes:
    if kind == _LOGITS:
        found = dict(llama.logits(ids, set(positions)))
        return b"".join(found[position].tobytes() for position in positions)
    scores = []
    for position, logits in llama.logits(ids[:-1], {target - 1 for target in positions}):
        wide = logits.astype(np.float64)
        top = wide.max()
        scores.append(wide[ids[position + 1]] - top - np.log(np.exp(wide - top).sum()))
    return np.array(scores, np.float64).tobytes()


def _listen(requests: queue.SimpleQueue[tuple[bytes, bytes]]) -> None:
    """Pass requests on; end this process, in the middle of a row too, when the parent closes the pipe or dies."""
    while (frame := _frame(sys.stdin.buffer)) is not None:
        requests.put(frame)
    os._exit(0)


def _sentence(error: Exception) -> bytes:
    """Return an error's first sentence; what follows is advice to callers of the library."""
    return f"{type(error).__name__}: {str(error).partition('. ')[0].rstrip('.')}".encode()


def _serve(gguf: str, context: int, threads: int) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when to end
    requests: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints is talk; answers have a pipe of their own
    try:
        llama = _Llama(gguf, context, threads)
        _send(answers, _READY, struct.pack("<I", llama.vocab))
    except Exception as error:  # whatever it is, llama.cpp has said more on standard error
        _send(answers, _ERROR, _sentence(error))
        os._exit(1)
    while True:
        kind, payload = requests.get()
        count, wanted = _COUNTS.unpack_from(payload)
        numbers = np.frombuffer(payload, "<i4", offset=_COUNTS.size).tolist()
        try:
            answer = _answer(llama, kind, numbers[:count], numbers[count : count + wanted])
        except Exception as error:  # one row that fails is the parent's to judge; the model stays loaded
            _send(answers, _ERROR, _sentence(error))
        else:
            _send(answers, kind, answer)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
