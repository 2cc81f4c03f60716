"""A tiny random Llama and pairs that it can learn."""

from tiny_training import *  # noqa: F403
