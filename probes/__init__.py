"""What is measured: one file a probe, its null hypothesis and its finding codes. Never imports torch at load."""
