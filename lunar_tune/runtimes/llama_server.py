"""llama-server (xllamacpp) in a process of its own: loopback, a random key, jinja on, web UI off.

`LlamaServer` is a context manager and a `seams.Runtime`. The child reads its settings from standard input, prints its
address, and ends when that pipe closes, so that it never outlives its parent, not even after kill -9. No text of a
request reaches a log or an error.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import lunar_tune
from lunar_tune.artefacts import Completion
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.errors import MissingExtra, RuntimeFailure

LOAD_TIMEOUT = 600.0  # seconds; a 3B model on a slow disk takes well under one minute
REQUEST_TIMEOUT = 1800.0  # seconds without one byte; a long answer on a slow CPU takes minutes
STOP_TIMEOUT = 5.0
LAST_WORDS = 12  # lines
SHOWN_TOKENS = ("<|python_tag|>", "<|start_header_id|>", "<|end_header_id|>", "[TOOL_CALLS]")
"""Control tokens that an answer's text shows beside its stops; llama-server hides all but those named in a request."""
_SAFE_AFTER_LOAD = re.compile(r"GGML_ASSERT|ggml_|CUDA|Metal|failed to allocate|out of memory", re.IGNORECASE)


class LlamaServer:
    """A GGUF behind llama-server.

    `complete` gives the same text for the same prompt, whatever was asked before and in whatever order, when `parallel`
    is 1, `reuse` is off and the number of threads is the same. Slots that share a batch, a reused beginning and other
    thread counts change sums in the last digits, so a near-tie between two tokens can fall the other way: measured
    on random weights, the worst case, in 0 to 8 of 24 answers; on a small trained model in none (F16, Q8_0) or 0 to 3
    of 20 (Q4_K_M). More threads than idle cores are many times slower, because llama.cpp's threads spin.

    Args:
        gguf: the model file.
        context: tokens a slot can hold, prompt and answer together.
        parallel: slots, that is requests answered at a time.
        chat_template: jinja to use instead of the GGUF's own.
        threads: CPU threads; 0 lets llama.cpp choose.
        name: the model name that answers carry.
        reuse: let `complete` start from a slot's last prompt where the beginning is the same (chats always do).
        load_timeout: seconds the model may take to load.
        timeout: seconds a request may pass without a byte.
    """

    def __init__(
        self,
        gguf: Path,
        *,
        context: int,
        parallel: int = 1,
        chat_template: str | None = None,
        threads: int = 0,
        name: str = "lunar-custom",
        reuse: bool = False,
        load_timeout: float = LOAD_TIMEOUT,
        timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        self.gguf, self.context, self.parallel, self.name, self.reuse = gguf, context, parallel, name, reuse
        self._settings = {
            "gguf": str(gguf.resolve()),
            "context": context * parallel,  # llama-server divides its context among the slots
            "parallel": parallel,
            "chat_template": chat_template,
            "threads": threads,
            "name": name,
            "key": secrets.token_urlsafe(24),
        }
        self._load_timeout, self._timeout = load_timeout, timeout
        self._process: subprocess.Popen[str] | None = None
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._reader: threading.Thread | None = None
        self._loaded = False
        self._client: Any = None
        self.url = ""

    # -- life --

    def start(self) -> Self:
        """Start the child and wait until the model is loaded.

        Raises:
            MissingExtra: xllamacpp is not installed.
            RuntimeFailure: the model cannot be loaded; the message ends with the child's last words.
        """
        import httpx

        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("xllamacpp", "llamacpp")
        if not self.gguf.is_file():
            raise RuntimeFailure(f"There is no model file {str(self.gguf)!r}.", "`lunar-tune export` writes one.")
        self._process = process = _spawn(self._settings)
        self._reader = threading.Thread(target=self._listen, args=(_pipe(process.stderr),), daemon=True)
        self._reader.start()
        try:
            self.url = self._address(process)
        except BaseException:
            self.stop()
            raise
        self._loaded = True
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self._settings['key']}"},
            timeout=httpx.Timeout(self._timeout, connect=10.0),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,  # a proxy set for the internet must not carry loopback traffic
        )
        return self

    def stop(self) -> None:
        """End the child; safe to call twice and from any thread."""
        process, self._process = self._process, None
        if self._client is not None:
            self._client.close()
            self._client = None
        if process is None:
            return
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT)
        _pipe(process.stdout).close()
        _pipe(process.stderr).close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def key(self) -> str:
        """The key that the child's HTTP address asks for."""
        return str(self._settings["key"])

    @property
    def pid(self) -> int | None:
        """The child's process id, None when it is not running."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    # -- requests --

    def complete(self, prompts: Sequence[Sequence[int]], *, max_tokens: int, stops: Sequence[str]) -> list[Completion]:
        """Return one greedy completion a prompt, in order; see `seams.Runtime`. No BOS is added.

        Raises:
            RuntimeFailure: a prompt leaves no room in the context, or the child failed.
        """
        for prompt in prompts:
            if len(prompt) >= self.context:
                raise RuntimeFailure(
                    f"A prompt of {len(prompt)} tokens leaves no room for an answer in a context of {self.context}.",
                    "Give the runtime a longer context.",
                )
        fixed = {"n_predict": max_tokens, "stop": list(stops), "temperature": 0.0}
        if not prompts:
            return []
        with ThreadPoolExecutor(self.parallel) as pool:
            futures = [pool.submit(self.completion, {**fixed, "prompt": list(prompt)}) for prompt in prompts]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def completion(self, request: Mapping[str, Any]) -> Completion:
        """Answer one request to llama-server's /completion; control tokens of the answer are shown in its text.

        Raises:
            RuntimeFailure: the child failed or refused the request.
        """
        answer = self.generate(request)
        return Completion(str(answer["content"]), "length" if answer["stop_type"] == "limit" else "stop")

    def generate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do the same and return {"content", "stop_type", "tokens_evaluated", "tokens_predicted"}.

        Raises:
            RuntimeFailure: the child failed or refused the request.
        """
        body = {
            "cache_prompt": self.reuse,
            **request,
            "preserved_tokens": [*request.get("stop", ()), *SHOWN_TOKENS],
            "response_fields": ["content", "stop_type", "tokens_evaluated", "tokens_predicted"],
        }
        return self._ask("/completion", body)

    def apply_template(
        self, messages: Sequence[WireMessage], tools: Sequence[WireTool], date_string: str, **extra: Any
    ) -> str:
        """Return the text llama-server makes of a request, without the BOS that it adds when it answers.

        Raises:
            RuntimeFailure: the template refused the messages, or the child failed.
        """
        body: dict[str, Any] = {
            "messages": list(messages),
            "chat_template_kwargs": {"date_string": date_string},
            **extra,
        }
        if tools:
            body["tools"] = list(tools)
        return str(self._ask("/apply-template", body)["prompt"])

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens in it become their ids and none are added."""
        answer = self._ask("/tokenize", {"content": text, "add_special": False, "parse_special": True})
        return [int(token) for token in answer["tokens"]]

    def chat(self, request: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Pass one non-streaming request to /v1/chat/completions; return its status and body, errors included.

        Raises:
            RuntimeFailure: the child died or did not answer in time.
        """
        with self._failures():
            answer = self._http().post("/v1/chat/completions", json={**request, "stream": False})
            return answer.status_code, _json_object(answer)

    @contextlib.contextmanager
    def stream(self, request: Mapping[str, Any]) -> Iterator[tuple[int, Iterator[dict[str, Any]]]]:
        """Pass one streaming request to /v1/chat/completions; yield its status and its events as they come.

        A refused request yields one event, the error body. Leaving the block early cancels the answer.

        Raises:
            RuntimeFailure: the child died or did not answer in time; also while the events are read.
        """
        body = {**request, "stream": True}
        with self._failures(), self._http().stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                yield answer.status_code, iter([_json_object(answer)])
            else:
                yield answer.status_code, _events(answer)

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._failures():
            answer = self._http().post(path, json=body)
            content = _json_object(answer)
        if answer.status_code != 200:
            raise RuntimeFailure(f"llama-server refused {path} with status {answer.status_code}{_kind(content)}.")
        return content

    def _http(self) -> Any:
        if self._client is None:
            raise RuntimeFailure("The llama-server is not running.")
        return self._client

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn a dead, silent or confused child into `RuntimeFailure`."""
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            raise RuntimeFailure(f"llama-server did not answer within {self._timeout:.0f} s.") from error
        except (httpx.HTTPError, json.JSONDecodeError, RuntimeError) as error:  # RuntimeError: the client was closed
            raise RuntimeFailure(f"llama-server {self._end()}.", self._last_words()) from error

    # -- the child's words --

    def _address(self, process: subprocess.Popen[str]) -> str:
        """Return the address that the child prints once the model is loaded."""
        timer = threading.Timer(self._load_timeout, process.kill)
        timer.daemon = True
        began = time.monotonic()
        timer.start()
        try:
            line = _pipe(process.stdout).readline()
        finally:
            timer.cancel()
        if line:
            return str(json.loads(line)["url"])
        late = time.monotonic() - began >= self._load_timeout
        how = (
            f"was not loaded within {self._load_timeout:.0f} s"
            if late
            else f"could not be loaded: the server {self._end()}"
        )
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT)
        raise RuntimeFailure(f"The model {str(self.gguf)!r} {how}.", self._last_words())

    def _end(self) -> str:
        """Say how the child ended, without waiting long: a broken connection comes just before the death."""
        if self._process is None:
            return "was stopped"
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "broke off its answer"
        return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"

    def _last_words(self) -> str:
        return "Its last words:\n" + "\n".join(f"  {line}" for line in self._words) if self._words else ""

    def _listen(self, stream: IO[str]) -> None:
        """Keep the child's last lines; once it serves, only those of the machine, which hold no text of a request."""
        for line in stream:
            if line.strip() and (not self._loaded or _SAFE_AFTER_LOAD.search(line)):
                self._words.append(line.rstrip()[:300])


def _spawn(settings: Mapping[str, Any]) -> subprocess.Popen[str]:
    package = str(Path(lunar_tune.__file__).resolve().parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "lunar_tune.runtimes.llama_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    # Linux ties PDEATHSIG to the thread that started the child: it may be asked for only where that thread lasts.
    lasting = threading.current_thread() is threading.main_thread()
    with contextlib.suppress(BrokenPipeError):  # a child that died at once is reported by its silence
        _pipe(process.stdin).write(json.dumps({**settings, "parent": os.getpid() if lasting else None}) + "\n")
        _pipe(process.stdin).flush()
    return process


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # every stream of the child is a pipe
    return stream


def _json_object(answer: Any) -> dict[str, Any]:
    content = answer.json()
    return content if isinstance(content, dict) else {"data": content}


def _kind(content: Mapping[str, Any]) -> str:
    """Return the type of a llama-server error; its message is left out because it can quote the request."""
    error = content.get("error")
    return f" ({error['type']})" if isinstance(error, dict) and "type" in error else ""


def _events(answer: Any) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        name, _, data = line.partition(":")
        if name == "error":
            yield {"error": json.loads(data)}
        elif name == "data" and data.strip() != "[DONE]":
            yield json.loads(data)
