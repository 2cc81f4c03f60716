"""What went wrong in a finished run, read from its log."""
