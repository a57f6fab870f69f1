"""Tiny random models of each architecture with its family's kind of tokenizer, as transformers saves them."""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, Sequence, Split
from tokenizers.trainers import BpeTrainer

from lunar_tune.export.vocabulary import LLAMA3_SPLIT, QWEN2_SPLIT, TEKKEN_SPLIT

WORDS = "the agent called a tool and it was not what they're 'asking' for: {\"name\": \"get_weather\", 12345} don't"
TEXTS = [WORDS, WORDS.upper(), WORDS.title(), "\n\n  def f(x):\n\treturn x\n", "naïve café Straße 東京 привет"] * 3
MISTRAL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
           "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]  # fmt: skip
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEKKEN = ["<unk>", "<s>", "</s>", "<pad>", *MISTRAL[3:]]
SPLITS = {"llama-bpe": (LLAMA3_SPLIT, LLAMA3), "qwen2": (QWEN2_SPLIT, QWEN), "tekken": (TEKKEN_SPLIT, TEKKEN)}
SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
}  # fmt: skip
KINDS = {  # model_type: tokenizer, what its configuration has of its own
    "mistral": ("default", {"head_dim": 32, "sliding_window": None, "tie_word_embeddings": False}),
    "mistral-tekken": ("tekken", {"head_dim": 16, "sliding_window": None, "tie_word_embeddings": False}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": 64}),
    "qwen3": ("qwen2", {"head_dim": 32, "tie_word_embeddings": True}),
}


def byte_level(pre: str) -> Tokenizer:
    """A byte-level BPE with a family's split and special tokens."""
    pattern, special = SPLITS[pre]
    tokenizer = Tokenizer(BPE(ignore_merges=pre != "qwen2"))
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    split = Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=700, initial_alphabet=sorted(ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    if pre == "qwen2":
        tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in ("<tool_call>", "</tool_call>")])
    return tokenizer


def sentencepiece() -> Tokenizer:
    """A BPE with byte fallback whose merges are all ways to make each entry, as transformers converts SentencePiece."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = Metaspace(prepend_scheme="first", split=True)
    learner.train_from_iterator(TEXTS, BpeTrainer(vocab_size=300, show_progress=False))
    learnt = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    control = ["<unk>", "<s>", "</s>", *MISTRAL[3:]]
    texts = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *(text for text, _ in learnt)]
    vocabulary = {text: index for index, text in enumerate(texts)}
    merges = [
        (text[:cut], text[cut:])
        for text, _ in learnt
        for cut in range(1, len(text))
        if text[:cut] in vocabulary and text[cut:] in vocabulary
    ]
    tokenizer = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    return tokenizer


def make(folder: Path, kind: str, **changes) -> Path:
    """A base of an architecture: random bfloat16 weights, biases and norms included."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    pre, own = KINDS[kind]
    tokenizer = sentencepiece() if pre == "default" else byte_level(pre)
    config = AutoConfig.for_model(
        kind.split("-")[0],
        **{**SIZES, **own, "rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}, **changes},
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 1:
                values.normal_(0.0 if name.endswith("bias") else 1.0, 0.3)
            else:
                values.normal_(0.0, 1.0 / values.shape[-1] ** 0.5)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))
