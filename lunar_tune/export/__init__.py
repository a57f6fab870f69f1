"""From a base and an adapter to one GGUF file that says the same: fuse, write, quantize, verify.

`check_exportable` tells before training whether a base can be shipped, `export_gguf` ships it, `verify.verify` compares
what was written with the float32 source.
"""

from lunar_tune.export.fuse import fused_tensors
from lunar_tune.export.gguf import check_exportable, write_gguf
from lunar_tune.export.quantize import Exported, export_gguf

__all__ = ["Exported", "check_exportable", "export_gguf", "fused_tensors", "write_gguf"]
