"""What a trainer that is about to start would train: its model, reference, adapter and batches, judged."""
