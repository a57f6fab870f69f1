"""One worker process a loaded version, and the pointer that says which one answers.

Every lease looks at the pointer. A new version is loaded beside the old one; what is under way there ends there, then
that worker ends. A version that cannot be loaded leaves the old one in its place, and that is said.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune.deploy.pointer import read_pointer
from lunar_tune.errors import LunarError, RuntimeFailure
from lunar_tune.files import is_artefact, read_manifest
from lunar_tune.runtimes.llama_server import LlamaServer
from lunar_tune.serve.wire import Refusal
from lunar_tune.settings import PromptSettings, ServeSettings

if TYPE_CHECKING:
    from lunar_tune.prompts.base import TemplatePrompt

EXTRAS = 1  # versions asked for by name that stay loaded beside the current one


@dataclass(eq=False)
class Worker:
    """A loaded version. `leases` counts the requests it is answering; a retired one ends with the last of them."""

    version: str
    manifest: dict[str, Any]
    prompt: TemplatePrompt | None
    server: LlamaServer
    leases: int = 0
    retired: bool = False
    used: int = 0
    """Grows with every lease of the fleet: the smallest is the longest unused."""

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.server.pid is not None


@dataclass(eq=False)
class Fleet:
    """The workers of one workspace."""

    home: Path
    settings: ServeSettings
    name: str
    say: Callable[[str], None]
    threads: int = 0
    _workers: dict[str, Worker] = field(default_factory=dict)
    _serving: str | None = None
    _failed: str | None = None
    _leases: int = 0
    _state: threading.Lock = field(default_factory=threading.Lock)
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _stamp: tuple[int, ...] = ()
    _pointed: str | None = None
    _closed: bool = False

    def pointed(self) -> str | None:
        """Return the version that the pointer names, None before the first; the file is read only when it changed.

        Raises:
            ArtefactBroken: the file is damaged.
        """
        path = self.home / "models" / "current.json"
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        with self._state:
            if stamp != self._stamp:
                self._pointed, self._stamp, self._failed = read_pointer(path).version, stamp, None
            return self._pointed

    @property
    def serving(self) -> str | None:
        """The version that answered last as the current one."""
        return self._serving

    def held(self) -> list[str]:
        """Return the versions of the workspace, sorted by name."""
        models = self.home / "models"
        return sorted(path.name for path in models.iterdir() if is_artefact(path)) if models.is_dir() else []

    @contextlib.contextmanager
    def lease(self, version: str | None = None) -> Iterator[Worker]:
        """Hold the worker of a version, or of the current one, for the length of a request; load it where needed.

        Raises:
            Refusal: 503, there is no version yet or it cannot be loaded.
        """
        worker = self._take(version) if version is not None else self._take_current()
        try:
            yield worker
        finally:
            with self._state:
                worker.leases -= 1
                if version is None and worker.version != self._serving:
                    worker.retired = True  # the pointer moved between the look and the lease
            self._end(worker)

    def stop(self) -> None:
        """End every worker, whatever it is doing."""
        with self._state:
            self._closed = True
            workers = list(self._workers.values())
            self._workers.clear()
        for worker in workers:
            worker.server.stop()

    # -- taking --

    def _take_current(self) -> Worker:
        try:
            wanted = self.pointed()
        except LunarError as error:
            self.say(f"{error.message} {error.hint}")
            wanted = self._serving
        old = self._serving
        if wanted is None:
            raise Refusal(
                503, "There is no version yet; `lunar-tune nightly` makes one.", "service_unavailable", "no_version"
            )
        if wanted == self._failed and old is not None:
            wanted = old
        try:
            worker = self._take(wanted)
        except Refusal:
            if old is None or old == wanted:
                raise
            return self._take(old)
        with self._state:
            moved = wanted == self._pointed and wanted != self._serving
            if moved:
                self._serving = wanted
        if moved:
            self.say(f"{wanted} answers from now on.")
            self._retire_all_but(wanted)
        return worker

    def _note_failure(self, version: str, why: str) -> None:
        """Note that a version cannot be loaded; when the pointer names it, it is not tried again until that moves."""
        with self._state:
            news = version == self._pointed and version != self._failed and self._serving not in (None, version)
            if news:
                self._failed = version
        if news:
            self.say(f"{why} {self._serving} goes on answering.")

    def _take(self, version: str) -> Worker:
        """Return the version's worker with one more lease."""
        worker = self._leased(version)
        if worker is not None:
            return worker
        with self._loading:  # one load at a time: two models may fill the memory, three would
            worker = self._leased(version)
            if worker is not None:
                return worker
            if version == self._failed and self._serving not in (None, version):
                raise Refusal(503, f"Version {version} cannot be loaded.", "service_unavailable", "version_broken")
            try:
                loaded = self._load(version)
            except Refusal as refusal:
                self._note_failure(version, refusal.message)
                raise
            with self._state:
                if not self._closed:
                    dead = self._workers.get(version)
                    self._workers[version] = loaded
                    self._count(loaded)
            if self._closed:
                loaded.server.stop()
                raise Refusal(503, "The door is closing.", "service_unavailable")
            if dead is not None:
                self.say(f"The worker of {version} had ended; it was started again.")
                dead.server.stop()
            self._retire_extras()
            return loaded

    def _leased(self, version: str) -> Worker | None:
        with self._state:
            worker = self._workers.get(version)
            if worker is None or not worker.alive:
                return None
            self._count(worker)
            return worker

    def _count(self, worker: Worker) -> None:
        self._leases += 1
        worker.leases += 1
        worker.used = self._leases
        worker.retired = False  # asked for again while its last requests were under way

    # -- loading and ending --

    def _load(self, version: str) -> Worker:
        path = self.home / "models" / version
        try:
            manifest = read_manifest(path)
            server = LlamaServer(
                path / str(manifest.get("gguf")),
                context=self.settings.context,
                parallel=self.settings.parallel,
                threads=self.threads,
                name=self.name,
            )
            prompt = _prompt_of(manifest)
            return Worker(version, manifest, prompt, server.start())
        except LunarError as error:
            problem = f"{error.message} {error.hint}".strip()
            raise Refusal(
                503, f"Version {version} cannot be loaded: {problem}", "service_unavailable", "version_broken"
            ) from error

    def _retire_all_but(self, version: str) -> None:
        with self._state:
            self._retire([worker for worker in self._workers.values() if worker.version != version])
        self._end_retired()

    def _retire_extras(self) -> None:
        """Let go of versions asked for by name, the longest unused first, beyond `EXTRAS`."""
        with self._state:
            current = (self._serving, self._pointed)
            extras = [worker for worker in self._workers.values() if worker.version not in current]
            extras.sort(key=lambda worker: worker.used)
            self._retire(extras[: max(0, len(extras) - EXTRAS)])
        self._end_retired()

    def _retire(self, workers: list[Worker]) -> None:
        for worker in workers:
            worker.retired = True

    def _end_retired(self) -> None:
        with self._state:
            over = [worker for worker in self._workers.values() if worker.retired and worker.leases == 0]
        for worker in over:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        with self._state:
            if worker.leases or not worker.retired:
                return
            if self._workers.get(worker.version) is worker:
                del self._workers[worker.version]
        worker.server.stop()


def _prompt_of(manifest: dict[str, Any]) -> TemplatePrompt | None:
    """Return the prompt a version was trained with, None when its manifest does not say.

    Raises:
        RuntimeFailure: the manifest names a prompt that this release does not know.
    """
    record = manifest.get("prompt")
    if not isinstance(record, dict) or "family" not in record:
        return None
    from lunar_tune.prompts import load_prompt

    try:
        known = {key: record[key] for key in ("family", "style", "call_key") if key in record}
        return load_prompt(PromptSettings(**known))
    except (LunarError, KeyError, TypeError) as error:
        raise RuntimeFailure(f"Its prompt {record.get('family')!r} is not known here.") from error
