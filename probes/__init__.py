"""What is measured: one file a probe, its null hypothesis, its finding codes. No torch at import."""
