"""Ollama's JSON API, as far as a model has to be brought there, swapped and tried.

Every refusal becomes `RegistryError` with Ollama's own words, an absent server `OllamaDown`. Errors that Ollama streams
after a status of 200 count too.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lunar_tune.errors import OllamaDown, RegistryError

CONNECT_TIMEOUT = 5.0
SILENCE = 900.0  # seconds without a byte: creating a model and loading it are silent for as long as the disk is slow
CHUNK = 1 << 20
PORT = 11434


class OllamaClient:
    """One Ollama server.

    Args:
        host: its address; scheme and port may be left out, as in OLLAMA_HOST.
        timeout: seconds a request may pass without a byte.
    """

    def __init__(self, host: str, timeout: float = SILENCE) -> None:
        import httpx

        self.host = normal_host(host)
        near = urlsplit(self.host).hostname in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(
            base_url=self.host,
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_keepalive_connections=0),  # minutes pass between calls: nothing is worth keeping
            trust_env=not near,
        )

    # -- what is there --

    def version(self, timeout: float | None = None) -> str:
        """Return the server's version, in at most `timeout` seconds.

        Raises:
            OllamaDown: nothing answers, or something else does.
        """
        import httpx

        try:
            answer = self._client.get("/api/version", timeout=timeout or CONNECT_TIMEOUT)
            return str(answer.raise_for_status().json()["version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise OllamaDown(self.host) from error

    def tags(self) -> list[dict[str, Any]]:
        """Return the models held: name, digest, modified_at, size, details."""
        return list(self._json("list models", "GET", "/api/tags").get("models") or ())

    def running(self) -> list[dict[str, Any]]:
        """Return the models held in memory: name, digest, size_vram, expires_at."""
        return list(self._json("list running models", "GET", "/api/ps").get("models") or ())

    def show(self, model: str) -> dict[str, Any]:
        """Return what a model is made of; `template` is the one that Ollama has really chosen."""
        return self._json(f"show {model!r}", "POST", "/api/show", {"model": model})

    # -- bringing a model --

    def has_blob(self, sha256: str) -> bool:
        """Tell whether the server holds a file of this SHA-256 (64 hex digits)."""
        with self._talk("look for a file") as send:
            answer = send("HEAD", f"/api/blobs/sha256:{sha256}")
        if answer.status_code not in (200, 404):
            raise RegistryError(f"Ollama could not look for a file (status {answer.status_code}).")
        return bool(answer.status_code == 200)

    def push_blob(self, path: Path, sha256: str) -> bool:
        """Upload a file unless the server holds it; tell whether it was uploaded.

        Raises:
            RegistryError: the file is not what `sha256` says, or the server's disk is full.
        """
        if self.has_blob(sha256):
            return False
        size = {"Content-Length": str(path.stat().st_size)}
        with self._talk(f"take {path.name}") as send:
            answer = send("POST", f"/api/blobs/sha256:{sha256}", content=_chunks(path), headers=size)
            self._check(answer, f"take {path.name}")
        return True

    def create(self, model: str, fields: Mapping[str, Any], on_status: Callable[[str], None] | None = None) -> None:
        """Create a model from the fields of /api/create (files, template, system, parameters, …).

        Raises:
            RegistryError: refused, at once or in the middle of the work.
        """
        what, done = f"create {model!r}", False
        with self._talk(what), self._client.stream("POST", "/api/create", json={**fields, "model": model}) as answer:
            if answer.status_code != 200:
                answer.read()
                self._check(answer, what)
            for line in filter(None, answer.iter_lines()):
                event = json.loads(line)
                if "error" in event:
                    raise RegistryError(f"Ollama could not {what}: {event['error']}.")
                done = event.get("status") == "success"
                if on_status is not None:
                    on_status(str(event.get("status", "")))
        if not done:
            raise RegistryError(f"Ollama broke off before it could {what}.", "Its log says why; run the command again.")

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name, over whatever had it; no data is copied."""
        body = {"source": source, "destination": destination}
        self._plain(f"copy {source!r} to {destination!r}", "POST", "/api/copy", body)

    def delete(self, model: str) -> None:
        """Remove a name, and the data that no other name uses."""
        self._plain(f"delete {model!r}", "DELETE", "/api/delete", {"model": model})

    # -- using it --

    def load(self, model: str, keep_alive: str | int | None = None) -> None:
        """Load a model into memory."""
        self.chat(model, [], **({} if keep_alive is None else {"keep_alive": keep_alive}))

    def unload(self, model: str) -> None:
        """Take a model out of memory; nothing happens when it is not there."""
        self.chat(model, [], keep_alive=0)

    def chat(self, model: str, messages: Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
        """Ask for one answer; `fields` are further ones of /api/chat (options, tools, keep_alive)."""
        body = {"model": model, "messages": list(messages), "stream": False, **fields}
        return self._json(f"answer with {model!r}", "POST", "/api/chat", body)

    def render(self, model: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the prompt that the server makes of a request, without its BOS; loads the model.

        Raises:
            RegistryError: the server is older than 0.11.5 and has answered instead.
        """
        fields = {"tools": list(tools)} if tools else {}
        answer = self.chat(model, messages, _debug_render_only=True, **fields)
        try:
            return str(answer["_debug_info"]["rendered_template"])
        except KeyError as error:
            raise RegistryError(
                "This Ollama cannot show the prompt it makes.", "Version 0.11.5 or newer can."
            ) from error

    # -- the wire --

    def _json(self, what: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._plain(what, method, path, body)
        with self._talk(what):
            content = answer.json()
        if not isinstance(content, dict):
            raise RegistryError(f"Ollama could not {what}: its answer is no JSON object.")
        if "error" in content:
            raise RegistryError(f"Ollama could not {what}: {content['error']}.")
        return content

    def _plain(self, what: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with self._talk(what) as send:
            answer = send(method, path, **({} if body is None else {"json": body}))
            self._check(answer, what)
            return answer

    def _check(self, answer: Any, what: str) -> None:
        if answer.status_code < 400:
            return
        try:
            reason = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            reason = f"status {answer.status_code}"
        raise RegistryError(f"Ollama could not {what}: {reason}.")

    @contextlib.contextmanager
    def _talk(self, what: str) -> Iterator[Callable[..., Any]]:
        """Turn an absent or silent server into an error of ours."""
        import httpx

        try:
            yield self._client.request
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise OllamaDown(self.host) from error
        except httpx.TimeoutException as error:
            raise RegistryError(f"Ollama at {self.host} fell silent and did not {what}.") from error
        except (httpx.HTTPError, httpx.StreamError, ValueError) as error:
            raise RegistryError(
                f"Ollama at {self.host} broke off and did not {what} ({type(error).__name__})."
            ) from error


def normal_host(host: str) -> str:
    """Return an address with scheme and port; 0.0.0.0, where a server listens, is reached as 127.0.0.1."""
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = "127.0.0.1" if parts.hostname in (None, "0.0.0.0", "::") else parts.hostname
    name = f"[{name}]" if ":" in str(name) else name
    port = parts.port or {"https": 443}.get(parts.scheme, PORT)
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}"


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            yield chunk
