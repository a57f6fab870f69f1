"""The scorer's log-probabilities are those of transformers on the same weights."""

import os
import sys
import time

import numpy as np
import pytest

from lunar_tune.artefacts import TokenRow
from lunar_tune.errors import MissingExtra, RuntimeFailure
from lunar_tune.runtimes.scoring import GgufScorer

HIDDEN, FEED, LAYERS, HEADS, KV_HEADS, VOCAB = 64, 96, 2, 4, 2, 300


def write_gguf(model, path):
    import gguf

    def halves_to_pairs(rows, heads):  # transformers rotates halves, GGUF's Llama rotates pairs
        return rows.reshape(heads, 2, -1, HIDDEN).swapaxes(1, 2).reshape(rows.shape)

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([f"t{index}" for index in range(VOCAB)])
    writer.add_token_types([1] * VOCAB)
    writer.add_token_merges(["t 0"])
    weights = {name: value.float().numpy() for name, value in model.state_dict().items()}
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    for layer in range(LAYERS):
        for theirs, ours in names.items():
            values = weights[f"model.layers.{layer}.{theirs}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(ours)
            writer.add_tensor(f"blk.{layer}.{ours}.weight", halves_to_pairs(values, heads) if heads else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def model():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=HIDDEN, intermediate_size=FEED, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, vocab_size=VOCAB, tie_word_embeddings=True, initializer_range=0.2,
        max_position_embeddings=2048,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def gguf(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("scoring") / "tiny.gguf"
    write_gguf(model, path)
    return path


@pytest.fixture(scope="module")
def scorer(gguf):
    with GgufScorer(gguf, context=1024, threads=1) as running:
        yield running


def row(length, supervised, seed=0):
    ids = np.random.default_rng(seed).integers(0, VOCAB, length).tolist()
    return TokenRow(f"row-{seed}", tuple(ids), tuple(int(index in supervised) for index in range(length)))


def reference(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([list(ids)])).logits[0].double()


@pytest.mark.parametrize(
    ("length", "supervised"),
    [(12, range(1, 12)), (40, [3, 4, 39]), (700, [1, 510, 511, 512, 513, 699]), (1024, [1023])],
    ids=["all", "some", "across batches", "whole context"],
)
def test_scores_are_those_of_transformers(model, scorer, length, supervised):
    asked = row(length, supervised)
    expected = reference(model, asked.ids).log_softmax(-1)
    (scores,) = scorer.score([asked])
    assert scores == pytest.approx([float(expected[i - 1, asked.ids[i]]) for i in supervised], abs=1e-2)


def test_logits_are_those_of_transformers_in_the_order_asked(model, scorer):
    asked = row(30, []).ids
    logits = scorer.logits(asked, [29, 0, 7, 7])
    assert logits.shape == (4, VOCAB)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, reference(model, asked).numpy()[[29, 0, 7, 7]], atol=2e-2)


def test_a_row_gives_the_same_floats_whatever_came_before(scorer, gguf):
    rows = [row(60, range(1, 60), seed) for seed in range(3)]
    together = scorer.score(rows)
    assert [scorer.score([r])[0] for r in reversed(rows)] == together[::-1]
    with GgufScorer(gguf, context=1024, threads=1) as another:
        assert another.score(rows) == together


def test_a_shared_beginning_is_kept_and_changes_no_float(scorer, gguf):
    long = row(700, [600, 650, 699])
    forks = [
        TokenRow(str(at), (*long.ids[:at], *row(120, [], at).ids), (0,) * (at + 40) + (1,) * 80) for at in (530, 560)
    ]
    asked = [long, *forks, TokenRow("early", forks[0].ids, (0, 1, *forks[0].mask[2:]))]
    in_turn = [scorer.score([one])[0] for one in asked]
    for one, expected in zip(asked, in_turn, strict=True):
        with GgufScorer(gguf, context=1024, threads=1) as fresh:
            assert fresh.score([one])[0] == expected


def test_what_is_not_supervised_after_the_last_target_changes_nothing(scorer):
    long = row(50, [4, 9])
    assert scorer.score([long]) == scorer.score([TokenRow("short", long.ids[:10], long.mask[:10])])


def test_nothing_to_score(scorer):
    assert scorer.score([]) == []
    assert scorer.score([row(5, [])]) == [[]]
    assert scorer.logits([1, 2], []).shape == (0, VOCAB)


def test_a_row_longer_than_the_context_is_refused_with_both_sizes(gguf):
    with GgufScorer(gguf, context=256, threads=1) as small:
        with pytest.raises(RuntimeFailure, match=r"300 tokens does not fit a context of 256"):
            small.score([row(300, [299])])
        assert len(small.score([row(256, [255])])[0]) == 1


def test_an_id_of_another_tokenizer_is_refused(scorer):
    with pytest.raises(RuntimeFailure, match=f"token {VOCAB}; .* has {VOCAB} tokens"):
        scorer.score([TokenRow("x", (1, VOCAB, 2), (0, 0, 1))])


def test_what_cannot_be_asked(scorer):
    with pytest.raises(ValueError, match="nothing stands before"):
        scorer.score([TokenRow("x", (1, 2), (1, 1))])
    with pytest.raises(IndexError):
        scorer.logits([1, 2], [2])


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "wrong.gguf"
    path.write_bytes(b"not a model at all")
    with pytest.raises(RuntimeFailure, match=r"wrong\.gguf.*could not be loaded"):
        GgufScorer(path, context=64).start()


def test_a_truncated_model_is_told_in_the_childs_last_words(gguf, tmp_path):
    path = tmp_path / "half.gguf"
    path.write_bytes(gguf.read_bytes()[: gguf.stat().st_size // 2])
    with pytest.raises(RuntimeFailure, match="Its last words:") as caught:
        GgufScorer(path, context=64).start()
    assert "corrupted or incomplete" in caught.value.hint


def test_no_file(tmp_path):
    with pytest.raises(RuntimeFailure, match="There is no model file"):
        GgufScorer(tmp_path / "none.gguf", context=64).start()


def test_a_missing_package_is_named_with_its_cure(gguf, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"lunar-tune\[llamacpp\]"):
        GgufScorer(gguf, context=64).start()


def test_a_killed_child_is_an_error_and_not_a_hang(gguf):
    with GgufScorer(gguf, context=64, threads=1) as doomed:
        assert doomed.pid is not None
        os.kill(doomed.pid, 9)
        with pytest.raises(RuntimeFailure, match="ended by signal 9"):
            doomed.score([row(5, [4])])


def test_a_stopped_scorer_says_so(gguf):
    scorer = GgufScorer(gguf, context=64, threads=1).start()
    scorer.stop()
    scorer.stop()
    assert scorer.pid is None
    with pytest.raises(RuntimeFailure, match="not running"):
        scorer.score([row(5, [4])])


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for the child by signal 0")
def test_the_child_ends_with_its_parent(gguf):
    import subprocess

    code = (
        "import os, sys\nfrom pathlib import Path\nfrom lunar_tune.runtimes.scoring import GgufScorer\n"
        f"scorer = GgufScorer(Path({str(gguf)!r}), context=64, threads=1).start()\n"
        "print(scorer.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    for _ in range(200):
        if not alive(child):
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a dead child that nobody waited for still has an id
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
