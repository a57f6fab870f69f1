"""llama.cpp's quantizer in a process of its own: source, target, file type, threads.

`python -m lunar_tune.export.llama_child` is how `quantize` runs it.
"""

import sys


def main(source: str, target: str, file_type: str, threads: str) -> None:
    """Write `source` to `target` as the llama.cpp file type of this number."""
    from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize

    parameters = LlamaModelQuantizeParams()
    parameters.ftype = int(file_type)
    parameters.nthread = int(threads)
    model_quantize(source, target, parameters)


if __name__ == "__main__":
    main(*sys.argv[1:])
