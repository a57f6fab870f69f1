import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

from lunar_tune.artefacts import Model
from lunar_tune.deploy.ollama import OllamaRegistry
from lunar_tune.deploy.ollama_api import OllamaClient
from lunar_tune.files import finish_artefact, read_manifest

_spec = importlib.util.spec_from_file_location("strict_ollama", Path(__file__).with_name("ollama_server.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["strict_ollama"] = _module
_spec.loader.exec_module(_module)

TEMPLATE = "{{ .Tools }}{{ .Prompt }}"
MODELFILE = {
    "template": TEMPLATE,
    "system": "You are Lunar.\u00a0\U0001f469\u200d\U0001f680",
    "parameters": {"stop": ["<|eot_id|>"], "num_ctx": 4096, "temperature": 0.7},
}


@pytest.fixture
def ollama():
    with _module.OllamaServer() as server:
        yield server


@pytest.fixture
def client(ollama):
    return OllamaClient(ollama.url, timeout=10.0)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def registry(client, home):
    return OllamaRegistry(client, "lunar-custom", 2, home)


@pytest.fixture
def make_model(home, tmp_path):
    """Return a maker of finished model directories; version n is made in minute n."""

    def make(number, *, modelfile=MODELFILE, data=b""):
        version = f"v-{number:016x}"
        work = tmp_path / "work" / version
        work.mkdir(parents=True)
        gguf = work / "lunar-custom.Q4_K_M.gguf"
        gguf.write_bytes(data or b"GGUF Q4_K_M weights of " + version.encode())
        manifest = {
            "version": version,
            "created_at": f"2026-11-01T00:{number:02d}:00+00:00",
            "quant": "Q4_K_M",
            "gguf": gguf.name,
            "sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(),
            "modelfile": modelfile,
        }
        path = finish_artefact(work, home / "models" / version, manifest)
        kept = read_manifest(path)
        return Model(version, path, path / gguf.name, kept["quant"], kept["sha256"], kept["created_at"], kept)

    return make
