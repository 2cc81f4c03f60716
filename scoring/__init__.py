"""The model: loading, exact encoding, per-token log-probs, the score store."""

import logging

# It warns at its import of a kernel that is not there, and at every product of what `arithmetic` says once.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
