"""Tests, intervals, power and sequential designs on numbers; nothing here knows a pair."""
