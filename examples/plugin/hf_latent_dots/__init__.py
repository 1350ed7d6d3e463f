"""A plug-in for hf_latent: data, an encoder, a view, a regularizer, a benchmark and a task of its own."""

from . import data, parts, task

__all__ = ["data", "parts", "task"]
