"""Training: losses, the loop, the guard, staged methods."""
