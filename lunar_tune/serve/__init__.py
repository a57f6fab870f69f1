"""The local registry's door: an OpenAI-compatible address whose answers come from the current version.

`wire` reads requests and writes refusals, `fleet` keeps one worker process a loaded version and follows the pointer,
`answer` turns a request into an answer or a stream, `door` is the HTTP around them.
"""

from __future__ import annotations

from lunar_tune.serve.door import Door, run_door

__all__ = ["Door", "run_door"]
