"""The model: loading, exact encoding, per-token log-probs, the score store."""
