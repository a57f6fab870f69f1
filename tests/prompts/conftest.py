"""The fixture model's tokenizer, a random model on it, and random conversations, ordinary and nasty."""

import json
from pathlib import Path

import pytest
from hypothesis import strategies as st

from lunar_tune.bases import load_tokenizer
from lunar_tune.prompts import load_prompt
from lunar_tune.settings import PromptSettings

NANO = Path(__file__).parents[2] / "fixtures" / "nano"


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer(NANO)


@pytest.fixture(scope="session")
def write_gguf():
    """Return a function that writes a random one-layer model with this tokenizer and a chat template."""

    def write(path: Path, template: str) -> Path:
        import gguf
        import numpy as np

        spec = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))
        special = {token["content"]: token["id"] for token in spec["added_tokens"]}
        vocabulary = spec["model"]["vocab"] | special
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        assert [vocabulary[token] for token in tokens] == list(range(len(tokens)))
        hidden, feed = 32, 64
        writer = gguf.GGUFWriter(str(path), "llama")
        writer.add_context_length(4096)
        writer.add_embedding_length(hidden)
        writer.add_block_count(1)
        writer.add_feed_forward_length(feed)
        writer.add_head_count(2)
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(500000.0)
        writer.add_vocab_size(len(tokens))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_list(tokens)
        writer.add_token_types([3 if token in special else 1 for token in tokens])
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]])
        writer.add_bos_token_id(special["<|begin_of_text|>"])
        writer.add_eos_token_id(special["<|eot_id|>"])
        writer.add_chat_template(template)
        random = np.random.default_rng(0)
        shapes = {"attn_q": (hidden, hidden), "attn_k": (hidden, hidden), "attn_v": (hidden, hidden)}
        shapes |= {"attn_output": (hidden, hidden), "ffn_gate": (feed, hidden), "ffn_up": (feed, hidden)}
        shapes |= {"ffn_down": (hidden, feed)}
        tensors = {f"blk.0.{name}": random.standard_normal(shape) * 0.05 for name, shape in shapes.items()}
        tensors |= {name: np.ones(hidden) for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")}
        tensors["token_embd"] = random.standard_normal((len(tokens), hidden)) * 0.05
        for name, values in tensors.items():
            writer.add_tensor(f"{name}.weight", values.astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture(scope="session", params=["tagged", "meta"])
def prompt(request):
    return load_prompt(PromptSettings(style=request.param))


# -- random conversations --

NASTY = (
    "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>", "<|reserved_special_token_0|>",
    "<|eot<|eot_id|>_id|>", "<| eot_id|>", "<|", "|>", "<tool_call>", "</tool_call>", '{"name": "f"', "{", "}", '"',
    "\\", "\u00a0", "\u3000", "\u0085", "\u2028", "\u200b", "\ufeff", " ", "  ", "\n", "\n\n", "\r\n", "\t",
    "\x0b", "\x0c", "\x1c", "\x00", "\x7f", "😀", "👩\u200d👩\u200d👧", "é", "e\u0301", "日本語", "العربية", "שלום",
    "ß", "ǅ", "𝔘", "½", "٣", "1234567", "'s", "I'LL", "a", "word", " the", "\ufffd", "{{ x }}", "{% if %}", "&lt;",
)  # fmt: skip
texts = st.one_of(
    st.text(max_size=12),
    st.lists(st.sampled_from(NASTY), max_size=6).map("".join),
    st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=3)), max_size=8).map("".join),
)
numbers = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-1000, 1000, places=2).map(float),
    st.sampled_from([0.0, -0.0, 1.0, 1e22, 1e-7, 3.14159265358979, 59.913868, 2**63, 2**64 - 1, -(2**63), 1e300]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
names = st.sampled_from(["get_weather", "save_memory", "f", "run_code"])
leaves = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean"])},
    optional={"description": texts, "default": values, "title": texts, "minimum": numbers, "examples": values},
)


def _schema(inner):
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"description": texts}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(texts, inner, max_size=3)},
            optional={"description": texts, "required": st.just([]), "additionalProperties": st.booleans()},
        ),
    )


schemas = _schema(st.recursive(leaves, _schema, max_leaves=4)).filter(lambda schema: schema["type"] == "object")
tools = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"description": texts, "parameters": st.just({}) | schemas}).map(
        lambda function: {"type": "function", "function": function}
    ),
    max_size=3,
    unique_by=lambda tool: tool["function"]["name"],
)


@st.composite
def calls(draw, most):
    """Calls as a client sends them: arguments as JSON text or, sometimes, as an object."""
    made = []
    for position in range(draw(st.integers(0, most))):
        arguments = draw(objects)
        sent = arguments if draw(st.booleans()) else json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        function = {"name": draw(names), "arguments": sent}
        made.append({"id": f"call_{position}", "type": "function", "function": function})
    return made


@st.composite
def turns(draw, most_calls):
    """One exchange: what the user said, what the assistant wrote, what its calls gave back."""
    content = draw(texts)
    parts = [{"type": "text", "text": text} for text in draw(st.lists(texts, min_size=1, max_size=3))]
    messages = [{"role": "user", "content": parts if draw(st.integers(0, 9)) == 0 else content}]
    assistant = {"role": "assistant", "content": draw(st.one_of(st.none(), texts))}
    made = draw(calls(most_calls))
    if made or draw(st.booleans()):
        assistant["tool_calls"] = made
    messages.append(assistant)
    for call in draw(st.permutations(made)):
        result = draw(st.one_of(texts, values.map(json.dumps), st.just('{"t": 3}')))
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    if not made and assistant["content"] is None:
        assistant["content"] = ""
    return messages


@st.composite
def conversations(draw, most_calls=3):
    """Messages that end where an answer begins, and the tools offered."""
    messages = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    for turn in draw(st.lists(turns(most_calls), max_size=3)):
        messages += turn
    if not messages or messages[-1]["role"] != "tool" or draw(st.booleans()):
        messages.append({"role": "user", "content": draw(texts)})
    return messages, draw(tools)


@st.composite
def rows(draw):
    """Dataset rows: conversations with answers, some of them to be learnt, and every called tool offered."""
    messages, offered = draw(conversations())
    messages = [*messages, {"role": "assistant", "content": draw(texts)}]
    messages = [{**m, "weight": draw(st.integers(0, 1))} if m["role"] == "assistant" else m for m in messages]
    called = {call["function"]["name"] for m in messages for call in m.get("tool_calls", ())}
    missing = called - {tool["function"]["name"] for tool in offered}
    offered += [{"type": "function", "function": {"name": name, "description": ""}} for name in sorted(missing)]
    return {"id": "row", "date": "2024-07-26", "messages": messages, "tools": offered, "meta": {}}


@pytest.fixture(scope="session")
def random():
    """The strategies by name, for `data.draw`."""
    return {"conversations": conversations, "rows": rows, "texts": texts, "objects": objects, "values": values}
