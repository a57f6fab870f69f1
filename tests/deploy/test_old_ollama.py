"""An Ollama older than 0.30 does not render with the GGUF's template: it is given the Go template instead."""

import pytest

from lunar_tune.artefacts import Model
from lunar_tune.deploy.ollama import OllamaRegistry
from lunar_tune.errors import RegistryError


class Server:
    host = "http://127.0.0.1:1"

    def __init__(self, here):
        self.here = here

    def version(self):
        return self.here


def fields(tmp_path, here, manifest):
    model = Model("v-0", tmp_path, tmp_path / "m.gguf", "Q8_0", "0", "2026-01-01", manifest)
    return OllamaRegistry(Server(here), "lunar-custom", 5, tmp_path)._fields(model)


MANIFEST = {"modelfile": {"requires": "0.30.0", "parameters": {"stop": ["x"]}}, "go_template": "{{ .Prompt }}"}


def test_a_new_server_uses_the_gguf(tmp_path):
    assert fields(tmp_path, "0.34.1", MANIFEST) == {"requires": "0.30.0", "parameters": {"stop": ["x"]}}


def test_an_old_server_gets_the_go_template(tmp_path):
    assert fields(tmp_path, "0.12.0", MANIFEST) == {"template": "{{ .Prompt }}", "parameters": {"stop": ["x"]}}


def test_an_old_server_without_one_is_refused(tmp_path):
    with pytest.raises(RegistryError, match="needs Ollama"):
        fields(tmp_path, "0.12.0", {"modelfile": {"requires": "0.30.0"}})
