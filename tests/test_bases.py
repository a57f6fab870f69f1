"""A base is found and named by content."""

import json
import shutil
from pathlib import Path

import pytest

from lunar_tune.bases import find_base, load_tokenizer
from lunar_tune.errors import BaseMissing

NANO = Path(__file__).parents[1] / "fixtures" / "nano"


@pytest.fixture
def base(tmp_path):
    """A tiny copy: the fixture's config and tokenizer, two small weight files."""
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(NANO / name, folder)
    write_weights(folder / "model-00001-of-00002.safetensors", {"model.embed_tokens.weight": ("BF16", [4, 3])})
    write_weights(folder / "model-00002-of-00002.safetensors", {"model.norm.weight": ("F32", [3])})
    return folder


def write_weights(path, tensors):
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = {"F32": 4, "BF16": 2, "U32": 4, "I64": 8}[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def change(folder, name, **values):
    config = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(config | values), encoding="utf-8")


def test_the_fixture_is_a_base():
    base = find_base(str(NANO))
    assert (base.name, base.model_type) == ("nano", "llama")
    assert 1e6 < base.parameters < 1e7


def test_a_base_is_named_by_content(base, tmp_path):
    first = find_base(str(base))
    assert first.parameters == 15
    moved = tmp_path / "elsewhere"
    shutil.copytree(base, moved)
    assert find_base(str(moved)).id == first.id
    write_weights(moved / "model-00002-of-00002.safetensors", {"model.norm.weight": ("F32", [4])})
    assert find_base(str(moved)).id != first.id
    change(base, "config.json", rms_norm_eps=1e-6)
    assert find_base(str(base)).id != first.id


def test_no_tokenizer(base):
    (base / "tokenizer.json").unlink()
    assert find_base(str(base)).tokenizer_id == ""
    with pytest.raises(BaseMissing, match=r"tokenizer\.json"):
        load_tokenizer(base)


def test_a_broken_tokenizer_file(base):
    (base / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(BaseMissing, match="cannot be read"):
        load_tokenizer(base)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_folder_without_a_config(base, text):
    (base / "config.json").unlink()
    if text is not None:
        (base / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(BaseMissing, match=r"config\.json"):
        find_base(str(base))


def test_a_name_that_is_no_folder_and_no_repository():
    with pytest.raises(BaseMissing, match="no such folder"):
        find_base("no/such/folder/anywhere")


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the hub: what was asked, and what it answers."""
    import huggingface_hub

    asked, answers = [], []

    sizes = []
    monkeypatch.setattr(huggingface_hub, "sizes", sizes, raising=False)

    def snapshot_download(name, *, local_files_only, dry_run=False, **rest):
        if dry_run:
            return sizes
        asked.append((name, local_files_only))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked, answers


def hub_error(kind):
    import httpx
    from huggingface_hub import errors

    response = httpx.Response(403, request=httpx.Request("GET", "https://hub/x"))
    made = getattr(errors, kind)
    return made("x", response=response) if issubclass(made, errors.HfHubHTTPError) else made("x")


def test_a_repository_s_local_copy_needs_no_network(base, hub):
    asked, answers = hub
    answers.append(base)
    found = find_base("meta-llama/Tiny")
    assert asked == [("meta-llama/Tiny", True)]
    assert found.name == "meta-llama/Tiny"
    assert found.path == base


def test_an_incomplete_local_copy_is_completed(base, hub, tmp_path):
    asked, answers = hub
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(base / "config.json", half)
    answers += [half, base]
    assert find_base("meta-llama/Tiny").path == base
    assert [local for _, local in asked] == [True, False]


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("GatedRepoError", "Accept the licence at https://huggingface.co/meta-llama/Tiny,"),
        ("RepositoryNotFoundError", "spelling"),
        ("LocalEntryNotFoundError", "Connect to the network"),
        ("OfflineModeIsEnabled", "Connect to the network"),
        ("HfHubHTTPError", "Connect to the network"),
    ],
)
def test_a_repository_that_cannot_be_had_says_what_helps(hub, kind, hint):
    _, answers = hub
    answers += [hub_error("LocalEntryNotFoundError"), hub_error(kind)]
    with pytest.raises(BaseMissing) as told:
        find_base("meta-llama/Tiny")
    assert hint in told.value.hint
