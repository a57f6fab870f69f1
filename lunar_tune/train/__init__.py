"""Training: tokens in, a LoRA adapter in PEFT's layout out, whoever trains it.

`loop.py` is the one training loop. It owns the order of rows, the schedule, validation, checkpoints and events and
knows neither torch nor MLX; a backend supplies an engine that computes gradients and applies updates (`engine.py`).
"""
