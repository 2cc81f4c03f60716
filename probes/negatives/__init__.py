"""How trivial the rejected side is, who wrote it, and what training on it would displace."""
