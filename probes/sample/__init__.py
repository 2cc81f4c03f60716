"""Rejected responses drawn from the model itself."""
