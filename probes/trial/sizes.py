"""How many samples are drawn per prompt. No torch here."""

WRITINGS = 128  # samples of a half's prompts together, as far as `FEW` to `MANY` per prompt allow
FEW, MANY = 2, 8


def samples_for(prompts: int) -> int:
    """Samples per prompt: a prompt has one say, which more samples make surer, and few prompts are cheap."""
    return max(FEW, min(MANY, WRITINGS // max(prompts, 1)))
