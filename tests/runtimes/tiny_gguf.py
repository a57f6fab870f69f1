"""Tiny Llama GGUFs: a parrot that gives one fixed reply to everything, and a net of random weights.

The parrot is a real Llama whose layers add nothing: the next token follows from the last one alone, and the end of the
assistant header leads to the pieces of the reply, one after another, and then to the end of the turn.
"""

from itertools import pairwise
from pathlib import Path

SPECIAL = (
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
    "<|python_tag|>",
)  # fmt: skip
PLAIN_TEMPLATE = (
    "{{- bos_token }}{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
    " + (m['content'] or '') + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
FIRST_OWN = 257  # 256 bytes and two newlines come before
HIDDEN, LAYERS, FEED, HEADS, KV_HEADS = 64, 2, 128, 4, 2


def letters():
    """Return the text that GPT-2's byte-level alphabet gives to each of the 256 bytes."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(spare)) for byte in range(256)]


def token_of(others, reply: str) -> int:
    """Return the id of the token that begins one of the `others`, or the first of the pieces when it is named last."""
    return FIRST_OWN + others.index(reply)


def write_tiny_gguf(path: Path, *pieces: str, others=(), template: str = PLAIN_TEMPLATE, seed: int = 0) -> Path:
    """Write a parrot of `pieces` (a piece named as a special token is that token), or random weights without pieces.

    `others` are further replies of one piece, as likely as the first: a request's logit_bias chooses (`token_of`).
    """
    import gguf
    import numpy as np

    alphabet = letters()
    newline = alphabet[10]
    own = [piece for piece in (*others, *pieces) if piece not in SPECIAL]
    tokens = [*alphabet, newline * 2, *own, *SPECIAL]
    kinds = [1] * 257 + [4] * len(own) + [3] * len(SPECIAL)
    rng = np.random.default_rng(seed)

    def matrix(rows, columns):
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    embedding, output = matrix(len(tokens), HIDDEN) * np.sqrt(HIDDEN).astype(np.float32), matrix(len(tokens), HIDDEN)
    if pieces:
        output = np.zeros_like(output)
        for reply in (pieces, *((other,) for other in others)):
            chain = [256, *(tokens.index(piece) for piece in reply), tokens.index("<|eot_id|>")]
            for before, after in pairwise(chain):
                output[after] = output[after] + 10 * embedding[before] / np.linalg.norm(embedding[before])
    head = HIDDEN // HEADS
    tensors = {"token_embd": embedding, "output": output, "output_norm": np.ones(HIDDEN, np.float32)}
    for layer in range(LAYERS):
        quiet = np.float32(0 if pieces else 1)
        tensors |= {
            f"blk.{layer}.{name}": values
            for name, values in {
                "attn_norm": np.ones(HIDDEN, np.float32),
                "attn_q": matrix(HIDDEN, HIDDEN),
                "attn_k": matrix(KV_HEADS * head, HIDDEN),
                "attn_v": matrix(KV_HEADS * head, HIDDEN),
                "attn_output": matrix(HIDDEN, HIDDEN) * quiet,
                "ffn_norm": np.ones(HIDDEN, np.float32),
                "ffn_gate": matrix(FEED, HIDDEN),
                "ffn_up": matrix(FEED, HIDDEN),
                "ffn_down": matrix(HIDDEN, FEED) * quiet,
            }.items()
        }
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{newline} {newline}"])
    writer.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    writer.add_eos_token_id(tokens.index("<|eot_id|>"))
    writer.add_chat_template(template)
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
