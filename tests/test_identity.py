import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_tune.identity import canonical_json, content_id, file_sha256

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_canonical_json_is_json_and_stable(value):
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_key_order_does_not_matter(value):
    assert content_id("x", value) == content_id("x", dict(reversed(value.items())))


def test_the_tag_is_part_of_the_content():
    assert content_id("a", 1).removeprefix("a-") != content_id("b", 1).removeprefix("b-")


def test_dataclasses_paths_and_sets():
    @dataclasses.dataclass
    class Point:
        where: Path
        tags: frozenset[str]

    assert canonical_json(Point(Path("a/b"), frozenset({"z", "y"}))) == '{"tags":["y","z"],"where":"a/b"}'


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="object"):
        canonical_json(object())
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


def test_file_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
