"""The decision written as another tool's configuration and data."""
