"""A strict stand-in for Ollama's HTTP API: what the real one refuses or swallows, this one does too.

Weights are files that begin with `GGUF` and name their number format, as in b"GGUF F16 …". A runner is keyed by the
blob of the weights, as Ollama's is, so that a re-pointed tag does not unload what it pointed at before.
"""

import hashlib
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

CREATE_FIELDS = {
    "model", "stream", "quantize", "draft_quantize", "from", "remote_host", "files", "draft_files", "adapters",
    "template", "license", "system", "parameters", "messages", "renderer", "parser", "requires", "info",
}  # fmt: skip
QUANTS = ("F32", "F16", "BF16", "Q8_0", "Q4_K_S", "Q4_K_M", "Q4_K")
INTEGERS = ("num_ctx", "num_predict", "seed", "top_k")
BLOB = re.compile(r"/api/blobs/(sha256[:-][0-9a-fA-F]{64})")
NAME = re.compile(r"(?:[\w.:-]+/)?(?:[A-Za-z0-9_][\w-]{0,79}/)?[A-Za-z0-9_][\w.-]{0,79}(?::[A-Za-z0-9_][\w.-]{0,79})?")


class Refusal(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


class OllamaServer:
    def __init__(self):
        self.version = "0.33.0"
        self.blobs = {}
        self.models = {}  # name:tag -> manifest
        self.runners = {}  # blob -> (name that loaded it, expiry)
        self.calls = []  # (method, path) of every request
        self.bodies = []
        self.uploaded = 0
        self.unloadable = set()  # blobs that crash the runner
        self.ignore_templates = False  # what Ollama does when the GGUF's jinja can do more
        self.create_breaks = ""  # "error" or "silence" in the middle of the stream
        self.clock = datetime(2026, 11, 1, tzinfo=UTC)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    # -- the work --

    def model(self, name):
        full = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        if full not in self.models:
            raise Refusal(404, f"model '{name}' not found")
        return full, self.models[full]

    def put(self, name, manifest):
        self.clock += timedelta(minutes=1)
        self.models[name] = {**manifest, "modified": self.clock}

    def digest(self, manifest):
        kept = {key: value for key, value in manifest.items() if key != "modified"}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def template(self, manifest):
        return manifest["template"] if manifest.get("template") and not self.ignore_templates else "{{ jinja }}"

    def create(self, body):
        """Yield the statuses of a creation; refuse before the first one where Ollama does."""
        if unknown := set(body) - CREATE_FIELDS:
            raise Refusal(400, f"unknown fields {sorted(unknown)}")
        if not NAME.fullmatch(body.get("model", "")):
            raise Refusal(400, "invalid model name")
        quantize = body.get("quantize")
        if quantize and quantize not in QUANTS:
            listed = "F32, F16, Q4_K_S, Q4_K_M, Q8_0"
            raise Refusal(400, f"unsupported quantization type {quantize} - supported types are {listed}")
        parent = {}
        if body.get("from"):
            parent = self.model(body["from"])[1]
            blob = parent["blob"]
        elif body.get("files"):
            blob = self._weights(body["files"])
        else:
            raise Refusal(400, "neither 'from' or 'files' was specified")
        return self._work(body, parent, blob, quantize)

    def _weights(self, files):
        for name, digest in files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or name in ("", ".") or "\\" in name:
                raise Refusal(400, f"{name}: invalid file name")
            if digest not in self.blobs:
                raise Refusal(400, f"blob {digest} not found")
        return next(iter(files.values()))

    def _work(self, body, parent, blob, quantize):
        yield {"status": "parsing GGUF"}
        data = self.blobs[blob]
        if not data.startswith(b"GGUF"):
            yield {"error": "invalid file magic"}
            return
        held = data.split()[1].decode()
        if quantize:
            if held not in ("F16", "BF16", "F32"):
                yield {"error": "quantization is only supported for F16, BF16 and F32 models"}
                return
            yield {"status": f"quantizing {held} model to {quantize}", "digest": "0" * 64, "total": 1, "completed": 1}
            data = b"GGUF " + quantize.encode() + b" from " + data
            blob = "sha256:" + hashlib.sha256(data).hexdigest()
            self.blobs[blob] = data
        if self.create_breaks == "error":
            yield {"error": "write /blobs: no space left on device"}
            return
        if self.create_breaks == "silence":
            return
        yield {"status": f"creating new layer {blob}"}
        layers = {key: body[key] for key in ("template", "system", "license", "messages", "requires") if key in body}
        parameters = {**parent.get("parameters", {}), **body.get("parameters", {})}
        yield {"status": "writing manifest"}
        name = body["model"] if ":" in body["model"].rpartition("/")[2] else f"{body['model']}:latest"
        self.put(name, {**parent, **layers, "blob": blob, "parameters": parameters, "quant": quantize or held})
        yield {"status": "success"}

    def chat(self, body):
        name, manifest = self.model(body["model"])
        blob, keep = manifest["blob"], body.get("keep_alive", "5m")
        if not body.get("messages") and keep in (0, "0"):
            self.runners.pop(blob, None)
            return {
                "model": name,
                "done": True,
                "done_reason": "unload",
                "message": {"role": "assistant", "content": ""},
            }
        for key, value in manifest["parameters"].items():
            if key == "stop" and not isinstance(value, list):
                raise Refusal(500, 'option "stop" must be of type array')
            if key in INTEGERS and not isinstance(value, (int, float)):
                raise Refusal(500, f'option "{key}" must be of type integer')
        if body.get("tools") and "tools" not in self.template(manifest).lower():
            raise Refusal(400, f'"{name}" does not support tools')
        if blob in self.unloadable:
            raise Refusal(500, "llama-server process has terminated: exit status 1")
        self.runners[blob] = (name, self.clock + timedelta(minutes=5))
        if not body.get("messages"):
            return {"model": name, "done": True, "done_reason": "load", "message": {"role": "assistant", "content": ""}}
        if body.get("_debug_render_only"):
            text = self.template(manifest) + "".join(message["content"] for message in body["messages"])
            return {"_debug_info": {"rendered_template": text, "image_count": 0}}
        reply = {"role": "assistant", "content": f"I am {self.digest(manifest)[:8]}."}
        return {"model": name, "done": True, "done_reason": "stop", "message": reply, "eval_count": 3}

    def entry(self, name):
        manifest = self.models[name]
        return {
            "name": name,
            "model": name,
            "digest": self.digest(manifest),
            "modified_at": manifest["modified"].isoformat(),
            "size": len(self.blobs[manifest["blob"]]),
            "details": {"format": "gguf", "family": "llama", "quantization_level": manifest["quant"]},
        }

    def show(self, body):
        _, manifest = self.model(body["model"])
        return {
            "template": self.template(manifest),
            "system": manifest.get("system", ""),
            "parameters": "\n".join(f"{key} {value}" for key, value in manifest["parameters"].items()),
            "details": {"quantization_level": manifest["quant"]},
            "model_info": {},
        }

    def running(self):
        for _, (name, expires) in list(self.runners.items()):
            if name in self.models:
                yield {**self.entry(name), "size_vram": 1, "expires_at": expires.isoformat()}

    def copy(self, body):
        if not all(NAME.fullmatch(body[key]) for key in ("source", "destination")):
            raise Refusal(400, "invalid model name")
        _, manifest = self.model(body["source"])
        self.put(body["destination"], manifest)

    def delete(self, body):
        name, manifest = self.model(body["model"])
        del self.models[name]
        if manifest["blob"] not in {other["blob"] for other in self.models.values()}:
            self.blobs.pop(manifest["blob"], None)


def _handler(ollama):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(self.blob)

        do_GET = do_POST = do_DELETE = lambda self: self.answer(self.route)

        def answer(self, work):
            ollama.calls.append((self.command, self.path))
            try:
                work()
            except Refusal as refusal:
                self.send(refusal.status, {"error": refusal.message})

        def send(self, status, value=None):
            data = b"" if value is None or self.command == "HEAD" else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def body(self):
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                value = json.loads(raw)
            except ValueError:
                raise Refusal(400, "missing request body" if not raw else "invalid JSON") from None
            ollama.bodies.append(value)
            return value

        def blob(self):
            match = BLOB.fullmatch(self.path)
            if not match:
                raise Refusal(400, "invalid digest")
            digest = match[1].replace("-", ":").lower()
            if self.command == "HEAD":
                return self.send(200 if digest in ollama.blobs else 404)
            if digest in ollama.blobs:
                self.close_connection = True
                return self.send(200)
            data = self.rfile.read(int(self.headers["Content-Length"]))
            ollama.uploaded += len(data)
            if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
                raise Refusal(400, f"digest mismatch, expected {digest}")
            ollama.blobs[digest] = data
            return self.send(201)

        def route(self):
            if self.path.startswith("/api/blobs/"):
                return self.blob()
            handler = {
                ("GET", "/api/version"): lambda: self.send(200, {"version": ollama.version}),
                ("GET", "/api/tags"): lambda: self.send(
                    200, {"models": [ollama.entry(name) for name in ollama.models]}
                ),
                ("GET", "/api/ps"): lambda: self.send(200, {"models": list(ollama.running())}),
                ("POST", "/api/create"): self.create,
                ("POST", "/api/show"): lambda: self.send(200, ollama.show(self.body())),
                ("POST", "/api/chat"): lambda: self.send(200, ollama.chat(self.body())),
                ("POST", "/api/copy"): lambda: self.send(200, ollama.copy(self.body())),
                ("DELETE", "/api/delete"): lambda: self.send(200, ollama.delete(self.body())),
            }.get((self.command, self.path))
            if handler is None:
                raise Refusal(404, "404 page not found")
            return handler()

        def create(self):
            events = ollama.create(self.body())
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Connection", "close")
            self.end_headers()
            for event in events:
                self.wfile.write(json.dumps(event).encode() + b"\n")
            self.close_connection = True

    return Handler
