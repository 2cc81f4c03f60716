"""probe: should this model be tuned on these pairs, with which method, and what will go wrong?"""

__version__ = "0.1.0"
