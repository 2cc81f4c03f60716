"""What something cheaper than training does to the same pairs."""
