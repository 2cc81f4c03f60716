"""Blind re-labelling of a sample, and how far its labels agree with the file's."""
