"""Training in a process of its own, so that its memory is given back and its crashes are survived.

The child (`python -m lunar_tune.train.process SPEC.json`) trains and writes one JSON line an event on its standard
output; `supervise` starts it, passes the events on and starts it again after a crash by signal if it got further. The
child's standard input is its lifeline: it ends when the parent does, however that happened.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import lunar_tune
from lunar_tune import errors
from lunar_tune.artefacts import Adapter, Tokens
from lunar_tune.errors import LunarError, OutOfMemory, TrainingError
from lunar_tune.files import MANIFEST, read_json, write_json
from lunar_tune.seams import OnEvent
from lunar_tune.settings import TrainSettings
from lunar_tune.train.awake import kept_awake
from lunar_tune.train.caches import cache_places
from lunar_tune.train.events import event_line, event_of

SPEC = "training.json"
# what Metal says of work that macOS ended because it kept the display waiting; not of too little memory
WATCHDOG = ("kIOGPUCommandBufferCallbackErrorImpactingInteractivity", "kIOGPUCommandBufferCallbackErrorTimeout")
_LAST_LINES = 12
_PATIENCE = 10.0  # seconds for a child to end by itself
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """One training run: which trainer, on which base and tokens, how, and where."""

    backend: str
    base: Path
    tokens: Tokens
    settings: TrainSettings
    work: Path


def write_spec(spec: TrainingSpec) -> Path:
    """Write a spec into its work folder and return the file."""
    tokens = {"id": spec.tokens.id, "path": str(spec.tokens.path), "counts": dict(spec.tokens.counts)}
    values = {"backend": spec.backend, "base": str(spec.base), "tokens": tokens}
    path = spec.work / SPEC
    write_json(path, {**values, "settings": asdict(spec.settings), "work": str(spec.work)})
    return path


def read_spec(path: Path) -> TrainingSpec:
    """Read what `write_spec` wrote."""
    values = read_json(path)
    tokens = values["tokens"]
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["settings"].items()}
    return TrainingSpec(
        values["backend"],
        Path(values["base"]),
        Tokens(tokens["id"], Path(tokens["path"]), tokens["counts"]),
        TrainSettings(**settings),
        Path(values["work"]),
    )


def run_training(spec_path: Path, on_event: OnEvent) -> Adapter:
    """Train in this process what a spec says.

    Raises:
        MissingExtra, BaseMissing, TrainingError, DiskFull.
    """
    from lunar_tune import plugins
    from lunar_tune.tokens import read_tokens

    spec = read_spec(spec_path)
    backend = plugins.backends()[spec.backend]()
    train, valid = read_tokens(spec.tokens, "train"), read_tokens(spec.tokens, "valid")
    return backend.train(spec.base, train, valid, spec.settings, spec.work, on_event)


def supervise(spec: TrainingSpec, on_event: OnEvent) -> Adapter:
    """Train in a child process and return the adapter; events arrive here as they happen.

    A child ended by a signal or by Metal's watchdog is started again and goes on from its newest checkpoint, as long as
    there is a newer one each time. One that did some steps and no checkpoint is tried again with more of them, so that
    short lives get on too. The machine is kept awake meanwhile.

    Raises:
        KeyboardInterrupt: from the terminal; the child has ended, and its checkpoints are kept.
        LunarError: what the child raised, as it raised it.
        TrainingError: the child crashed; the message ends with its last lines.
    """
    path, every = write_spec(spec), spec.settings.save_every
    while True:
        before = _newest_step(spec.work)
        with kept_awake():
            child = _Child(path)
            outcome = child.watch(on_event)
        if isinstance(outcome, Adapter):
            path.unlink(missing_ok=True)
            return outcome
        if outcome in (_INTERRUPTED, -signal.SIGINT):
            raise KeyboardInterrupt
        struck = outcome < 0 or any(sign in line for sign in WATCHDOG for line in child.last_lines)
        if struck and _newest_step(spec.work) > before:
            continue
        if struck and child.steps and every > 1:
            every = max(1, min(every, child.steps) // 2)
            write_spec(replace(spec, settings=replace(spec.settings, save_every=every)))
            continue
        raise _crash(outcome, child.last_lines)


class _Child:
    """A running child, its last lines on stderr, and how many steps it did."""

    def __init__(self, spec: Path) -> None:
        self.steps = 0
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lunar_tune.train.process", str(spec), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(spec.parent),
            encoding="utf-8",
            errors="replace",
        )
        self.reader = threading.Thread(target=self._read_errors, daemon=True)
        self.reader.start()

    def watch(self, on_event: OnEvent) -> Adapter | int:
        """Pass events on until the child ends; return its adapter or its exit status (negative: the signal)."""
        adapter: Adapter | None = None
        try:
            with _closing(self.process):
                assert self.process.stdout is not None
                for line in self.process.stdout:
                    adapter = self._heed(line, on_event) or adapter
                status = self.process.wait()
        finally:
            self.reader.join(_PATIENCE)
            if not self.reader.is_alive() and self.process.stderr is not None:
                self.process.stderr.close()
        return adapter if adapter is not None and status == 0 else status

    def _heed(self, line: str, on_event: OnEvent) -> Adapter | None:
        try:
            message = json.loads(line)
        except ValueError:  # the torn last line of a crash
            return None
        if "error" in message:
            raise _revive(message["error"])
        if "adapter" in message:
            found = message["adapter"]
            return Adapter(Path(found["path"]), found["rank"], found["alpha"])
        event = event_of(message)
        self.steps += event.kind == "step"
        on_event(event)
        return None

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with contextlib.suppress(ValueError):  # closed under our hands
            self.last_lines.extend(line.rstrip() for line in self.process.stderr if line.strip())


@contextlib.contextmanager
def _closing(process: subprocess.Popen[str]) -> Iterator[None]:
    """Make sure the child has ended and its pipes are closed, whatever happens inside."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def child_environment(work: Path) -> dict[str, str]:
    """Return the variables a child of a work folder runs with."""
    environment = {**os.environ, **cache_places(work, os.environ)}
    # waiting threads of GNU OpenMP spin by default: on two busy cores that made training 10 times slower
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    root = str(Path(lunar_tune.__file__).parents[1])
    if not root.endswith("site-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    return environment


def _newest_step(work: Path) -> int:
    found = (work / "checkpoints").glob(f"step-*/{MANIFEST}")
    return max((int(path.parent.name.removeprefix("step-")) for path in found), default=0)


def _crash(status: int, lines: deque[str]) -> TrainingError:
    said = "".join(f"\n  {line}" for line in lines)
    if status >= 0:
        return TrainingError(
            f"The training process ended with status {status}:{said}", "Run the same command again to go on."
        )
    name = signal.Signals(-status).name
    hint = "Run the same command again to go on from the newest checkpoint."
    if -status == signal.SIGKILL:
        return OutOfMemory(f"The training process was ended by {name}.{said}")
    return TrainingError(f"The training process was ended by {name}.{said}", hint)


def _revive(values: dict[str, Any]) -> LunarError:
    """Return the error a child raised, of its own class."""
    kind = getattr(errors, values["kind"], TrainingError)
    error: LunarError = kind.__new__(kind)
    LunarError.__init__(error, values["message"], values["hint"])
    return error


def main(arguments: list[str]) -> int:
    """Be the child: `SPEC.json [PARENT]`; with a parent's process id, end when that process does."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get between the events
    if len(arguments) > 1:
        _end_with(int(arguments[1]))

    def tell(line: str) -> None:
        out.write(line)
        out.flush()

    try:
        adapter = run_training(Path(arguments[0]), lambda event: tell(event_line(event)))
    except LunarError as error:
        tell(json.dumps({"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}) + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    tell(json.dumps({"adapter": {"path": str(adapter.path), "rank": adapter.rank, "alpha": adapter.alpha}}) + "\n")
    return 0


def _end_with(parent: int) -> None:
    """End this process when its parent ends: at once on Linux, and everywhere when standard input is closed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)
    threading.Thread(target=_await_end_of, args=(sys.stdin.buffer,), daemon=True).start()


def _await_end_of(lifeline: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        while os.read(lifeline.fileno(), 1):
            pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
