"""Whether the first training step would produce NaN or infinity."""
