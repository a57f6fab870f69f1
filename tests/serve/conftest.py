import hashlib
import importlib.util
from pathlib import Path

import pytest

from lunar_tune.deploy.local import LocalRegistry
from lunar_tune.files import finish_artefact
from lunar_tune.prompts import load_prompt
from lunar_tune.serve import Door
from lunar_tune.settings import PromptSettings, ServeSettings

_path = Path(__file__).parents[1] / "runtimes" / "tiny_gguf.py"
_spec = importlib.util.spec_from_file_location("tiny_gguf_of_serve", _path)
assert _spec is not None
assert _spec.loader is not None
_tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tiny)

NAME = "lunar-custom"


class Ear:
    """A `Talk` that remembers."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)

    def progress(self, *_, **__):
        pass


class House:
    """A workspace whose versions are parrots."""

    def __init__(self, home, scratch):
        self.home, self.scratch = home, scratch
        self.registry = LocalRegistry(home)
        self.made = 0

    def add(self, *pieces, style="tagged", others=(), **manifest):
        self.made += 1
        version = f"v-{self.made:016x}"
        work = self.scratch / version
        work.mkdir(parents=True)
        prompt = load_prompt(PromptSettings(family="llama3", style=style))
        gguf = _tiny.write_tiny_gguf(work / "m.F32.gguf", *pieces, others=others, template=prompt.serving_template)
        record = {
            "version": version,
            "created_at": f"2026-11-01T00:{self.made:02d}:00+00:00",
            "quant": "F32",
            "gguf": gguf.name,
            "sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(),
            "prompt": {"family": "llama3", "style": style, "call_key": "arguments", "version": prompt.version},
        }
        finish_artefact(work, self.home / "models" / version, {**record, **manifest})
        return version

    def current(self, *pieces, **more):
        version = self.add(*pieces, **more)
        self.registry.promote(version)
        return version

    def gguf(self, version):
        return self.home / "models" / version / "m.F32.gguf"


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "home", tmp_path / "scratch")


@pytest.fixture
def ear():
    return Ear()


@pytest.fixture
def open_door(house, ear):
    """Return an opener of the house's door; it is closed after the test."""
    doors = []

    def opened(**settings):
        door = Door(house.home, ServeSettings(port=0, context=1024, **settings), NAME, ear, threads=1)
        doors.append(door)
        return door.start()

    yield opened
    for door in doors:
        door.stop()


@pytest.fixture(scope="module")
def make_house(tmp_path_factory):
    """Return a maker of houses that last as long as the module's tests."""

    def make():
        scratch = tmp_path_factory.mktemp("house")
        return House(scratch / "home", scratch / "work")

    return make


@pytest.fixture(scope="session")
def token_of():
    return _tiny.token_of
