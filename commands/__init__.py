"""One module a command: its options, the calls it makes, its exit code."""
