"""HTTP around the fleet: GET /health, GET /v1/models, POST /v1/chat/completions. No conversation is logged."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lunar_tune.errors import ArtefactBroken, RuntimeFailure
from lunar_tune.seams import Talk
from lunar_tune.serve.answer import answer, stream
from lunar_tune.serve.fleet import Fleet, Worker
from lunar_tune.serve.wire import Refusal, read_request
from lunar_tune.settings import ServeSettings

MAX_BODY = 32 << 20  # bytes; a context of 128k tokens is well under 1 MB of text
CLIENT_TIMEOUT = 120.0  # seconds a client may keep silent, or not read
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Door:
    """The door of the workspace `home`: answers as the model `name` until it is stopped; `talk` hears of versions."""

    def __init__(
        self, home: Path, settings: ServeSettings, name: str, talk: Talk | None = None, *, threads: int = 0
    ) -> None:
        self.settings, self.name, self._talk = settings, name, talk
        self.fleet = Fleet(home, settings, name, self._say, threads or settings.threads)
        self._http: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen, and load the current version if there is one.

        Raises:
            RuntimeFailure: the address is taken or is not this machine's.
        """
        host, port = self.settings.host, self.settings.port
        if not is_loopback(host):
            self._say(
                f"Warning: {host} is open to the network; whoever reaches it can use the model and read its answers."
            )
        try:
            self._http = _Server((host, port), self)
        except OSError as error:
            raise RuntimeFailure(
                f"Cannot listen on {host}:{port} ({error.strerror or error}).", "Choose others with --host and --port."
            ) from error
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()
        try:
            with self.fleet.lease():
                pass
        except Refusal as refusal:
            self._say(refusal.message)
        return self

    def stop(self) -> None:
        """Close the door and end every worker."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        self.fleet.stop()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address that requests go to."""
        assert self._http is not None
        host, port = self._http.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def version_of(self, model: str | None) -> str | None:
        """Return the version that a request's `model` names, None for the current one.

        Raises:
            Refusal: 404, no such model here.
        """
        if not model or model in (self.name, f"{self.name}:latest"):
            return None
        name, _, version = model.rpartition(":")
        if name == self.name and version in self.fleet.held():
            return version
        raise Refusal(
            404, f"The model {model!r} does not exist; this is {self.name!r}.", code="model_not_found", param="model"
        )

    def models(self) -> dict[str, Any]:
        """Return what /v1/models lists: the name, and each version held."""
        tags = [self.name, *(f"{self.name}:{version}" for version in self.fleet.held())]
        return {
            "object": "list",
            "data": [{"id": tag, "object": "model", "created": 0, "owned_by": "lunar-tune"} for tag in tags],
        }

    def health(self) -> tuple[int, dict[str, Any]]:
        """Return 200 once a version answers, 503 before."""
        with contextlib.suppress(ArtefactBroken):
            current, serving = self.fleet.pointed(), self.fleet.serving
            state = "ok" if serving else "loading" if current else "no version yet"
            return 200 if serving else 503, {"status": state, "version": serving, "current": current}
        return 503, {"status": "the pointer is damaged", "version": self.fleet.serving, "current": None}

    def _say(self, text: str) -> None:
        if self._talk is not None:
            self._talk.say(text)


def run_door(home: Path, settings: ServeSettings, name: str, talk: Talk) -> None:
    """Keep the door open until Ctrl-C.

    Raises:
        RuntimeFailure: the address cannot be listened on.
    """
    door = Door(home, settings, name, talk)
    try:
        door.start()
        talk.say(f"{name} answers at {door.url}/v1 (Ctrl-C ends it).")
        threading.Event().wait()
    except KeyboardInterrupt:
        talk.say("The door is closed.")
    finally:
        door.stop()


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], door: Door) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.door = door
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about a client that went away; a bug is said by its kind, never with a request's content."""
        import sys

        error = sys.exception()
        if error is not None and not isinstance(error, (OSError, TimeoutError)):
            self.door._say(f"A request failed: {type(error).__name__}.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "lunar-tune"
    sys_version = ""
    timeout = CLIENT_TIMEOUT
    disable_nagle_algorithm = True
    server: _Server
    _begun = False

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the request line is the client's."""

    def do_GET(self) -> None:
        """Answer /health and /v1/models."""
        with self._refusals():
            door = self.server.door
            if self.path == "/health":
                self._send(*door.health())
            elif self.path == "/v1/models":
                self._send(200, door.models())
            else:
                raise Refusal(404, "There is no such address here.", code="unknown_url")

    def do_POST(self) -> None:
        """Answer /v1/chat/completions."""
        with self._refusals():
            raw = self._body()
            if self.path != "/v1/chat/completions":
                raise Refusal(404, "There is no such address here.", code="unknown_url")
            request = read_request(raw)
            version = self.server.door.version_of(request.get("model"))
            try:
                self._answer(request, version)
            except RuntimeFailure:
                if self._begun:
                    raise
                self._answer(request, version)  # its worker died: the next lease starts another

    def _answer(self, request: dict[str, Any], version: str | None) -> None:
        with self.server.door.fleet.lease(version) as worker:
            if not request.get("stream"):
                return self._send(200, answer(worker, request), worker)
            with contextlib.closing(stream(worker, request)) as chunks:  # a client that goes ends the worker's work too
                first = next(chunks)  # what is refused is refused before the status is sent
                self._begin_stream(worker)
                self._event(first)
                for chunk in chunks:
                    self._event(chunk)
            self.wfile.write(b"data: [DONE]\n\n")

    # -- the wire --

    def _body(self) -> bytes:
        """Return the body; a refusal before it is read ends the connection, for the rest cannot be told apart."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if length < 0 or length > MAX_BODY:
            self.close_connection = True
            if length < 0:
                raise Refusal(411, "The request has no Content-Length.")
            raise Refusal(413, f"The request is larger than {MAX_BODY >> 20} MiB.")
        return self.rfile.read(length)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn what goes wrong into an answer, or into an event when the answer is under way."""
        try:
            self._check_host()
            yield
        except Refusal as refusal:
            self._refuse(refusal)
        except RuntimeFailure as error:
            self._refuse(Refusal(503, error.message, "service_unavailable", "worker_failed"))
        except OSError:
            self.close_connection = True  # the client went away or does not read; the lease is over either way

    def _check_host(self) -> None:
        """Refuse a name that is not this machine's: a web page may have pointed its own name here."""
        if not is_loopback(self.server.door.settings.host):
            return
        name = self.headers.get("Host", "localhost")
        name = name.rpartition(":")[0] if not name.endswith("]") and ":" in name else name
        if name.strip("[]").lower() not in LOCAL_NAMES and not is_loopback(name.strip("[]")):
            self.close_connection = True
            raise Refusal(403, "This door answers to this machine's own names only.")

    def _refuse(self, refusal: Refusal) -> None:
        if self._begun:
            with contextlib.suppress(OSError):
                self._event(refusal.document())
        else:
            self._send(refusal.status, refusal.document())

    def _send(self, status: int, document: dict[str, Any], worker: Worker | None = None) -> None:
        data = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        if worker is not None:
            self.send_header("x-lunar-version", worker.version)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self, worker: Worker) -> None:
        self._begun = self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("x-lunar-version", worker.version)
        self.send_header("Connection", "close")
        self.end_headers()

    def _event(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n")
