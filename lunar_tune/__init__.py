"""lunar-tune: an agent's own logs into a better model of that agent, and never a worse one."""

__version__ = "0.1.0"
