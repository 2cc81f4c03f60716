"""Renderers: each a pure function of a `Run`. Never imports torch, never computes a statistic."""
