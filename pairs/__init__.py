"""Preference pairs: the type, the readers, the model-free checks, the bundled sets. Never imports torch."""
