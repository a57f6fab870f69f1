"""The process of its own that `LlamaServer` starts: one llama-server, as long as its parent lives.

One JSON line on standard input holds the settings; one on standard output, {"url"}, says that the model is loaded. The
end of standard input ends the process. Errors of llama.cpp go to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any


def serve() -> None:
    """Load the model, print the address, and live as long as standard input is open."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when to end
    settings = json.loads(sys.stdin.readline())
    if settings["parent"] is not None:
        _die_with(settings["parent"])
    threading.Thread(target=_watch, daemon=True).start()
    address = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the library prints is talk; the address has a pipe of its own
    import xllamacpp

    try:
        server = xllamacpp.Server(_parameters(xllamacpp, settings))
    except Exception as error:  # whatever it is, llama.cpp has said more on standard error
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    address.write(json.dumps({"url": server.listening_address}) + "\n")
    address.flush()
    threading.Event().wait()


def _parameters(xllamacpp: Any, settings: Mapping[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = settings["gguf"]
    params.model_alias = {settings["name"]}
    params.n_ctx, params.n_parallel = settings["context"], settings["parallel"]
    params.kv_unified = False  # slots with a context of their own: what one holds never takes room from another
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [settings["key"]]
    params.use_jinja, params.ui, params.endpoint_slots = True, False, False
    params.verbosity = 1  # errors
    if settings["chat_template"] is not None:
        params.chat_template = settings["chat_template"]
    if settings["threads"]:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    return params


def _watch() -> None:
    """End this process when the parent closes the pipe or dies."""
    while os.read(0, 1):
        pass
    os._exit(0)


def _die_with(parent: int) -> None:
    """On Linux, ask the kernel to kill this process with its parent: the pipe is not watched while a model loads."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    serve()
