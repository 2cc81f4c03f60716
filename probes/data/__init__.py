"""Whether the pair file is sound: checks of rows, columns, tokens and the whole file, without a model."""
