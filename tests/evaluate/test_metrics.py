"""The AST rules of BFCL, case by case, and the figures of probabilities."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.episodes import ToolCall
from lunar_tune.evaluate.metrics import (
    calls_difference,
    calls_exact,
    kl,
    lenient,
    mean_nll,
    perplexity,
    schema_problem,
)


def tool(name, properties=None, required=(), **more):
    parameters = {"type": "object", "properties": properties or {}, "required": list(required), **more}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TRIP = tool(
    "book_trip",
    {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "budget": {"type": "number"},
        "quick": {"type": "boolean"},
        "unit": {"type": "string", "default": "euro"},
        "stops": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"type": "number"}},
        "guest": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "vip": {"default": False}},
        },
        "legs": {"type": "array", "items": {"type": "object", "properties": {"to": {"type": "string"}}}},
        "note": {},
    },
    ["city"],
)
TOOLS = [TRIP, tool("get_time"), tool("get.time")]


def call(name="book_trip", **arguments):
    return ToolCall(name=name, arguments=arguments)


def trip(**arguments):
    return call(city="Rome", **arguments)


@pytest.mark.parametrize(
    ("got", "expected", "reason"),
    [
        # number of calls
        ([], [], None),
        ([trip()], [trip()], None),
        ([], [trip()], "count"),
        ([trip()], [], "count"),
        ([trip(), trip()], [trip()], "count"),
        ([trip()], [trip(), trip()], "count"),
        # name
        ([call("get_time")], [call("get.time")], "name"),
        ([call("get_time", city="Rome")], [trip()], "name"),
        ([call("Book_Trip", city="Rome")], [trip()], "name"),
        # missing and unexpected arguments
        ([call()], [trip()], "missing:city"),
        ([trip()], [trip(days=2)], "missing:days"),
        ([trip(days=2)], [trip()], "unexpected:days"),
        ([trip(hotel="x")], [trip()], "unexpected:hotel"),
        ([trip(hotel="x")], [trip(hotel="x")], None),
        # an optional argument at its default may be left out, or written
        ([trip()], [trip(unit="euro")], None),
        ([trip(unit="Euro")], [trip()], None),
        ([trip(unit="dollar")], [trip()], "value:unit"),
        ([trip()], [trip(unit="dollar")], "value:unit"),
        # types
        ([trip(days=2)], [trip(days=2)], None),
        ([trip(days="2")], [trip(days=2)], "type:days"),
        ([trip(days=2.0)], [trip(days=2)], "type:days"),
        ([trip(days=True)], [trip(days=1)], "type:days"),
        ([trip(days=None)], [trip(days=1)], "type:days"),
        ([trip(budget=5)], [trip(budget=5.0)], None),
        ([trip(budget=5.0)], [trip(budget=5)], None),
        ([trip(note=5.0)], [trip(note=5)], "type:note"),
        ([trip(quick=1)], [trip(quick=True)], "type:quick"),
        ([trip(quick="true")], [trip(quick=True)], "type:quick"),
        ([trip(quick=False)], [trip(quick=True)], "value:quick"),
        ([trip(stops="Pisa")], [trip(stops=["Pisa"])], "type:stops"),
        ([trip(days="2")], [trip(days="2")], None),
        ([trip(note=None)], [trip(note=None)], None),
        # values
        ([trip(days=3)], [trip(days=2)], "value:days"),
        ([trip(budget=5.01)], [trip(budget=5.0)], "value:budget"),
        # texts: spaces, ,./-_*^, case and kind of quote do not count; everything else does
        ([call(city="new-york")], [call(city="New York")], None),
        ([call(city="April 1,2024")], [call(city="april 1, 2024")], None),
        ([call(city="it's")], [call(city='it"s')], None),
        ([call(city="a_b*c^d/e.f")], [call(city="ABCDEF")], None),
        ([call(city="Rome!")], [call(city="Rome")], "value:city"),
        ([call(city="Zürich")], [call(city="Zurich")], "value:city"),
        # lists: in order, texts leniently, elements of the right type
        ([trip(stops=["pisa", "Como "])], [trip(stops=["Pisa", "Como"])], None),
        ([trip(stops=["Como", "Pisa"])], [trip(stops=["Pisa", "Como"])], "value:stops[0]"),
        ([trip(stops=["Pisa"])], [trip(stops=["Pisa", "Como"])], "value:stops"),
        ([trip(stops=[1])], [trip(stops=["1"])], "type:stops[0]"),
        ([trip(sizes=[1, 2.0])], [trip(sizes=[1.0, 2])], None),
        ([trip(stops=[])], [trip(stops=[])], None),
        # objects: key by key
        ([trip(guest={"age": 3, "name": "ANN"})], [trip(guest={"name": "Ann", "age": 3})], None),
        ([trip(guest={"name": "Ann"})], [trip(guest={"name": "Ann", "age": 3})], "missing:guest.age"),
        ([trip(guest={"name": "Ann", "x": 1})], [trip(guest={"name": "Ann"})], "unexpected:guest.x"),
        ([trip(guest={"name": "Ann", "vip": False})], [trip(guest={"name": "Ann"})], None),
        ([trip(guest={"name": "Ann", "vip": True})], [trip(guest={"name": "Ann"})], "value:guest.vip"),
        ([trip(legs=[{"to": "Pisa"}])], [trip(legs=[{"to": "pisa"}])], None),
        ([trip(legs=[{"to": "a"}, {"to": "b"}])], [trip(legs=[{"to": "b"}, {"to": "a"}])], "value:legs[0].to"),
        # several calls: in any order, each used once
        ([call("get_time"), trip()], [trip(), call("get_time")], None),
        ([trip(days=2), trip(days=1)], [trip(days=1), trip(days=2)], None),
        ([trip(days=1), trip(days=1)], [trip(days=1), trip(days=2)], "value:days"),
        ([call("get_time"), call("get_time")], [trip(), call("get_time")], "name"),
        # a tool without a schema here: the logged call is all there is
        ([call("gone", a=1)], [call("gone", a=1)], None),
        ([call("gone", a=2)], [call("gone", a=1)], "value:a"),
    ],
)
def test_bfcl_rules(got, expected, reason):
    assert calls_difference(got, expected, TOOLS) == reason


def test_a_default_of_a_required_argument_does_not_excuse_it():
    tools = [tool("t", {"a": {"type": "integer", "default": 1}}, ["a"])]
    assert calls_difference([call("t")], [call("t", a=1)], tools) == "missing:a"


@pytest.mark.parametrize("schema", [{"properties": []}, {"properties": {"a": True}}, {"required": "a"}, {"items": 3}])
def test_a_broken_schema_is_no_reason_to_fail(schema):
    tools = [{"function": {"name": "t", "parameters": schema}}]
    assert calls_difference([call("t", a=[1])], [call("t", a=[1])], tools) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(st.sampled_from([*TRIP["function"]["parameters"]["properties"], "other"]), json_values)
calls = st.lists(st.builds(lambda a: ToolCall(name="book_trip", arguments=a), arguments), max_size=4)


@settings(max_examples=60)
@given(calls, st.randoms())
def test_logged_calls_match_themselves_in_any_order(expected, random):
    got = copy.deepcopy(expected)
    random.shuffle(got)
    assert calls_difference(got, expected, TOOLS) is None
    assert calls_exact(got, expected)


@given(st.text())
def test_the_lenient_form_is_its_own_lenient_form(text):
    once = lenient(text)
    assert lenient(once) == once
    assert not set(once) & set(" ,./-_*^'")


@pytest.mark.parametrize(
    ("got", "expected", "exact"),
    [
        ([trip(days=2)], [trip(days=2)], True),
        ([call("get_time"), trip()], [trip(), call("get_time")], True),
        ([trip(budget=5)], [trip(budget=5.0)], False),
        ([call(city="rome")], [call(city="Rome")], False),
        ([trip(unit="euro")], [trip()], False),
        ([trip(quick=True)], [trip(quick=1)], False),
        ([trip()], [trip(), trip()], False),
        ([trip(), trip(days=1), trip()], [trip(), trip(days=1), trip(days=1)], False),
    ],
)
def test_exact(got, expected, exact):
    assert calls_exact(got, expected) is exact


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (trip(days=2), None),
        (trip(hotel="any"), None),
        (call(), "schema:required"),
        (trip(days="2"), "schema:type"),
        (trip(days=2.0), None),
        (trip(stops=["a", 1]), "schema:type"),
        (call("no_such_tool"), "tool"),
        (call("get_time"), None),
    ],
)
def test_schema_problem(asked, problem):
    assert schema_problem(asked, TOOLS) == problem


def test_schema_keywords_hold():
    tools = [tool("t", {"a": {"enum": ["x", "y"]}, "b": {"minimum": 1}}, additionalProperties=False)]
    assert schema_problem(call("t", a="x", b=1), tools) is None
    assert schema_problem(call("t", a="z"), tools) == "schema:enum"
    assert schema_problem(call("t", b=0), tools) == "schema:minimum"
    assert schema_problem(call("t", c=0), tools) == "schema:additionalProperties"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "dict"},
        {"properties": {"a": {"type": "float"}}},
        {"properties": {"a": {"$ref": "https://example.invalid/schema.json"}}},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
    ],
    ids=["python type", "unknown type", "on the network", "nowhere", "round in a circle"],
)
def test_of_an_unusable_schema_nothing_is_said(schema):
    with pytest.raises(ValueError, match="cannot be used"):
        schema_problem(call("t", a=1), [{"function": {"name": "t", "parameters": schema}}])


def test_nll_and_perplexity():
    assert mean_nll([math.log(0.5), math.log(0.125)]) == pytest.approx(2 * math.log(2))
    assert perplexity(math.log(4)) == pytest.approx(4)
    assert math.isfinite(perplexity(1e6))
    with pytest.raises(ValueError, match="no supervised token"):
        mean_nll([])


def test_kl_of_known_distributions():
    p, q = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.25, 0.75], [0.9, 0.1]])
    expected = 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75)
    np.testing.assert_allclose(kl(np.log(p) + 3, np.log(q) - 7), [expected, 0], atol=1e-12)


def test_kl_of_what_cannot_happen():
    p, q = np.array([[0.0, -np.inf]]), np.array([[0.0, 0.0]])
    assert kl(p, q) == pytest.approx([math.log(2)])
    assert kl(p, p) == pytest.approx([0.0])
    assert kl(q, p)[0] == math.inf


@given(st.integers(1, 5), st.integers(2, 9), st.integers(0, 99))
def test_kl_is_never_negative(rows, vocab, seed):
    p, q = np.random.default_rng(seed).normal(size=(2, rows, vocab)).astype(np.float32)
    assert (kl(p, q) >= 0).all()
    np.testing.assert_allclose(kl(p, p), 0, atol=1e-12)


def test_kl_wants_equal_shapes():
    with pytest.raises(ValueError, match="different shapes"):
        kl(np.zeros((1, 2)), np.zeros((1, 3)))
