"""A checkpoint and an adapter written as one GGUF file, in one pass, a few rows in memory at a time.

Whatever llama.cpp would load but answer wrongly (other rotary scaling, other tokenizer, quantized sources) is refused
before anything is written. The same input gives the same bytes, in the order in which llama.cpp's quantizer would put
them: so Ollama, which copies every import through it, finds the very file it was given and stores it once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import BaseNotExportable, DiskFull, ExportError
from lunar_tune.export.fuse import Fused
from lunar_tune.export.layout import DIRECT, HALF, Plan, pieces, plan_tensors
from lunar_tune.export.shape import DecoderShape, read_config, read_shape
from lunar_tune.export.tensors import DTYPES, Tensors, checkpoint_files
from lunar_tune.export.vocabulary import LLAMA3, Vocabulary, read_vocabulary
from lunar_tune.files import PRIVATE_FILE, disk_errors, make_private_dir

Progress = Callable[[int, int], None]  # bytes written, bytes in all
FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "Q4_K_M": 15, "BF16": 32, HALF: 1}  # gguf.LlamaFileType
HEADER_MARGIN = 1 << 16
_IGNORED = ("rotary_emb.inv_freq",)  # a constant that old checkpoints store


def check_exportable(base: Path) -> list[str]:
    """Return every reason, in words, why a base folder cannot be exported faithfully; empty when it can.

    Reads config.json, tokenizer.json and the headers of the weights: a second, no weights.

    Raises:
        BaseMissing: the folder or its config.json does not exist.
    """
    return _read_base(base)[2]


def write_gguf(
    base: Path,
    adapter: Adapter | None,
    out: Path,
    quant: str,
    *,
    chat_template: str,
    name: str,
    progress: Progress | None = None,
    strength: float = 1.0,
    room_for: float = 0.0,
) -> None:
    """Write base + strength · adapter to `out` in one of the formats `DIRECT` or `HALF`; `progress` hears of the bytes.

    A reader sees the whole file or none. `room_for` is how much more room must be free, as a share of the file: for
    what will be made from it.

    Raises:
        BaseMissing, BaseNotExportable: the base is not there, or `check_exportable` has reasons against it.
        ExportError: the adapter does not fit, or a number does not fit the format.
        DiskFull: there is not room for the whole file; nothing was written.
    """
    if quant not in (*DIRECT, HALF):
        raise ExportError(f"{quant!r} is not written directly.", f"Formats: {', '.join(DIRECT)}.")
    shape, vocabulary, problems = _read_base(base)
    if problems or shape is None or vocabulary is None:
        raise BaseNotExportable(str(base), problems)
    fused = Fused(base, adapter, strength)
    fused.check_used(shape.tensors())
    plans = plan_tensors(shape, quant, fused)
    size = sum(plan.size for plan in plans) + _metadata_size(vocabulary, chat_template)
    check_room(out, int(size * (1 + room_for)))
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(out):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE))
            writer = _writer(shape, vocabulary, quant, chat_template, name)
            _write(writer, temporary, plans, fused, shape, progress)
            os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def check_room(out: Path, needed: int) -> None:
    """Make sure that `needed` bytes fit beside `out`, creating its folder.

    Raises:
        DiskFull: they do not; the message has both figures.
    """
    free = shutil.disk_usage(make_private_dir(out.parent)).free
    if needed > free:
        raise DiskFull(out, needed, free)


def _read_base(base: Path) -> tuple[DecoderShape | None, Vocabulary | None, list[str]]:
    shape, problems = read_shape(read_config(base))
    if shape is None:
        return None, None, problems
    vocabulary, problems = read_vocabulary(base, shape.vocab)
    try:
        problems = problems + _weight_problems(Tensors(checkpoint_files(base)), shape)
    except ExportError as error:
        problems = [*problems, error.message.rstrip(".")]
    return shape, vocabulary, problems


def _weight_problems(stored: Tensors, shape: DecoderShape) -> list[str]:
    needed = shape.tensors()
    problems = []
    missing = [name for name in needed if name not in stored.entries]
    if missing:
        problems.append(f"{len(missing)} tensor(s) are missing, such as {missing[0]!r}")
    for name, entry in stored.entries.items():
        if name in needed and entry.shape != needed[name][1]:
            problems.append(f"{name!r} has shape {entry.shape}; config.json means {needed[name][1]}")
        elif name in needed and entry.dtype not in DTYPES:
            problems.append(f"{name!r} is stored as {entry.dtype}; export needs 16 or 32 bits a number")
        elif name not in needed and not name.endswith(_IGNORED) and not (shape.tied and name == "lm_head.weight"):
            problems.append(f"{name!r} is no tensor of a {shape.arch} decoder")
    return problems[:8] + ([f"{len(problems) - 8} more tensors"] if len(problems) > 8 else [])


def _metadata_size(vocabulary: Vocabulary, chat_template: str) -> int:
    texts = (*vocabulary.tokens, *vocabulary.merges)
    return (
        sum(len(text.encode()) + 8 for text in texts) + 4 * len(vocabulary.types) + len(chat_template) + HEADER_MARGIN
    )


def _writer(shape: DecoderShape, vocabulary: Vocabulary, quant: str, chat_template: str, name: str) -> Any:
    """Return gguf's writer with every key set; `quantization_version` and `file_type` must stay the last two."""
    import gguf

    writer = gguf.GGUFWriter(None, shape.arch)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.theta)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    _write_vocabulary(writer, vocabulary)
    writer.add_chat_template(chat_template)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(FILE_TYPES[quant])
    return writer


def _write_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("llama" if vocabulary.scores else "gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    if vocabulary.bos is not None:
        writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eot)
    writer.add_eot_token_id(vocabulary.eot)
    if vocabulary.eom is not None:
        writer.add_eom_token_id(vocabulary.eom)
    if vocabulary.unknown is not None:
        writer.add_unk_token_id(vocabulary.unknown)
    if vocabulary.pad is not None:
        writer.add_pad_token_id(vocabulary.pad)
    if vocabulary.pre != LLAMA3:  # which llama.cpp knows to begin with a BOS
        writer.add_add_bos_token(vocabulary.bos is not None)
    if vocabulary.space_first is not None:
        writer.add_add_space_prefix(vocabulary.space_first)


def _write(
    writer: Any, path: Path, plans: list[Plan], fused: Fused, shape: DecoderShape, progress: Progress | None
) -> None:
    import gguf

    for plan in plans:
        kind = gguf.GGMLQuantizationType[plan.format]
        writer.add_tensor_info(plan.name, plan.shape, np.dtype(np.float32), plan.size, raw_dtype=kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    handle = writer.fout[0]
    done, total = 0, sum(plan.size for plan in plans)
    try:
        writer.write_padding(handle, handle.tell())
        for plan in plans:
            for piece in pieces(plan, fused, shape):
                handle.write(piece.data)
                done += piece.nbytes
                if progress is not None:
                    progress(done, total)
            writer.write_padding(handle, plan.size)
        handle.flush()
        os.fsync(handle.fileno())
    finally:
        writer.close()
