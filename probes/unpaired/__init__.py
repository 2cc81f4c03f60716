"""Unpaired data: answers with a label each, read, checked and scored."""
