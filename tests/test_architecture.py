"""The floors hold, heavy libraries stay asleep, and the prose keeps to the project."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lunar_tune"

FLOORS = {
    "errors": 0, "identity": 0, "files": 0,
    "episodes": 1, "chatml": 1, "artefacts": 1, "seams": 1, "settings": 1, "table_map": 1,
    "presets": 1, "ranges": 1,
    "plugins": 2, "hookspecs": 2, "store": 2, "prompts": 2, "tokens": 2, "bases": 2, "runtimes": 2,
    "sources": 3, "curate": 3, "dataset": 3, "train": 3, "evaluate": 3, "export": 3, "modelfile": 3, "deploy": 3,
    "workflow": 4, "nightly": 4, "doctor": 4, "advise": 4,
    "cli": 5, "serve": 5, "__main__": 5,
}  # fmt: skip
FREE_FLOORS = (0, 1, 4, 5)  # rooms here may use each other; on floors 2 and 3 they are strangers
SAME_FLOOR = {("plugins", "hookspecs"), ("sources", "hookspecs"), ("train", "hookspecs")}
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "mlx",
    "gguf",
    "numpy",
    "pandas",
    "ollama",
    "sqlite_utils",
    "xllamacpp",
    "cyllama",
)
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lunar_tune"):
            names = [node.module] if node.module != "lunar_tune" else [f"lunar_tune.{a.name}" for a in node.names]
            found |= {name.split(".")[1] for name in names if "." in name}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("lunar_tune.")}
    return found - {"__version__"}


def test_every_room_has_a_floor():
    rooms = {room(path) for path in SOURCES} - {"__init__"}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    here = room(path)
    if here == "__init__":
        assert not imports(path)
        return
    for there in imports(path) - {here}:
        if FLOORS[there] == FLOORS[here]:
            assert FLOORS[here] in FREE_FLOORS or (here, there) in SAME_FLOOR, f"{here} and {there} are strangers"
        else:
            assert FLOORS[there] < FLOORS[here], f"{here} imports upwards: {there}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_in_bodies_only(path):
    top = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names = {(n.module or "") if isinstance(n, ast.ImportFrom) else a.name for n in top for a in n.names}
    # numpy is the arithmetic of stages; it may head a stage file because no command imports one before it is called
    allowed = {"numpy"} if FLOORS.get(room(path)) in (2, 3) else set()
    assert not {name.split(".")[0] for name in names} & (set(HEAVY) - allowed)


def test_help_wakes_no_heavy_library():
    code = (
        "import sys\nfrom lunar_tune.cli import main\nmain(['--help'])\nprint('LOADED', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.partition("LOADED")[2].split())
    assert "click" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_are_not_crowded(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


def test_top_level_holds_only_what_belongs_there():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    tops = {name.split("/")[0] for name in listed}
    kept = {
        "lunar_tune",
        "modelfiles",
        "tests",
        "fixtures",
        "pyproject.toml",
        "README.md",
        "Makefile",
        "CHANGELOG.md",
        "LICENSE",
    }
    assert {top for top in tops if not top.startswith(".")} <= kept


def test_nothing_is_left_to_do():
    for path in SOURCES:
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")), path
