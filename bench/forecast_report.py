"""Tables of `forecast.py`."""
