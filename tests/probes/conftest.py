"""Tiny random models and tokenizers of every kind."""

from tiny_models import *  # noqa: F403
