"""Judgement: conditions, accepted findings, the table from findings to a method. Never imports torch."""
