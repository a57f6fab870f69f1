"""llama.cpp by itself, in a process of its own: JSON on stdin, an .npz out. No code of the project is used.

{"gguf", "out", "texts": [str], "prompts": [[id]], "greedy": tokens to write after each prompt, "copy": path or null}
"""

import json
import sys

import numpy as np
from cyllama.llama import llama_cpp as llama


class Model(llama.LlamaModel):
    """cyllama's model with the attribute that its `get_logits_ith` looks for and does not find."""

    @property
    def n_vocab(self) -> int:
        return self.get_vocab().n_vocab


def main() -> None:
    job = json.load(sys.stdin)
    if job.get("copy"):
        parameters = llama.LlamaModelQuantizeParams()
        parameters.only_copy = True
        llama.model_quantize(job["gguf"], job["copy"], parameters)
        return
    model = Model(job["gguf"], verbose=False)
    vocab = model.get_vocab()
    results = {f"text{n}": np.array(vocab.tokenize(text, False, True), int) for n, text in enumerate(job["texts"])}
    results["with_bos"] = np.array(vocab.tokenize("hi", True, True), int)
    results["special"] = np.array([vocab.token_bos(), vocab.token_eos(), vocab.token_eot(), vocab.token_pad()])
    for n, prompt in enumerate(job["prompts"]):
        results[f"prompt{n}"] = greedy(model, prompt, job["greedy"]) if job["greedy"] else logits(model, prompt)
    np.savez(job["out"], **results)


def context_for(model: Model, tokens: int) -> llama.LlamaContext:
    parameters = llama.LlamaContextParams()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = tokens
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.type_k = parameters.type_v = 0  # float32: with its usual 16-bit cache and attention llama.cpp rounds by
    parameters.flash_attn_type = 0  # itself, up to a few hundredths of a nat, which would hide an error of the file
    return llama.LlamaContext(model, parameters, False)


def decode(context: llama.LlamaContext, ids: list[int], past: int, every: bool) -> np.ndarray:
    batch = llama.LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1)
    batch.set_batch(ids, past, every)
    context.decode(batch)
    wanted = range(len(ids)) if every else [len(ids) - 1]
    return np.array([np.array(context.get_logits_ith(i)) for i in wanted], np.float32)


def logits(model: Model, prompt: list[int]) -> np.ndarray:
    return decode(context_for(model, len(prompt)), prompt, 0, True)


def greedy(model: Model, prompt: list[int], count: int) -> np.ndarray:
    context, ids, fresh = context_for(model, len(prompt) + count), list(prompt), prompt
    for _ in range(count):
        best = int(decode(context, fresh, len(ids) - len(fresh), False)[-1].argmax())
        ids.append(best)
        fresh = [best]
    return np.array(ids, int)


main()
