"""Whether a short trial learns anything that generalises to unseen pairs."""
