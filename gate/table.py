"""From findings to a method: the decision table, as data. The first row that holds decides.

Order carries the safety: what forbids training stands above what recommends it, and rows that recommend it
rest on measured estimates or on warnings, never on errors. So adding an error finding never leads to more
training (tests/gate/test_table.py holds this for generated runs).
"""

from __future__ import annotations

from ..shared_limits import TRIVIAL_CODES
from .predicates import (
    Beyond,
    Both,
    Either,
    Failed,
    Found,
    Judged,
    Leaning,
    MovesSamples,
    Not,
    Ran,
    Size,
    Turned,
    Wanted,
    Won,
)
from .row import Note, Row

# Findings by what they mean to the table.
RANKS = Beyond("trial_accuracy", "above", "trial_accuracy", "PB501", concern=False)
# What the model writes has the last word: margins rose where samples did not move (docs/validity.md).
LEARNS = Either(
    (
        Beyond("behaviour_up", "above", "trial_accuracy", "PB501", concern=False),
        Both((Not(Judged()), RANKS)),
    )
)
IMPROBABLE = Found(("PB221",), ("warning", "info"))
OVER_BUDGET = Beyond("flip_budget_share", "above", "flip_budget_share", "PB120")
LENGTH = Beyond("length_accuracy", "above", "length_accuracy", "PB201")
MATCHED = Not(Either((LENGTH, Found(("PB330",), ("warning",)))))
# Measured (validity-appendix.md): where DPO alone moves unseen pairs so surely, SFT before it took from that.
STRONG = Beyond("trial_accuracy", "above", "strong_trial", "PB501", concern=False)
# The budget counts summed log-probs: where the sides differ in length it is a fact about length.
AGAINST = Either((Both((IMPROBABLE, Not(STRONG))), Both((OVER_BUDGET, MATCHED))))
# The trial's own change of the chosen side forecast that of full runs (validity-appendix.md); what is
# computed from single gradients or from hidden states did not, so the gate spends nothing on it.
DISPLACED = Found(("PB503",), ("warning",))
ALIKE = Found(("PB331",), ("warning",))
# SFT never reads the rejected side, so it cannot learn a form that this side alone has.
CHOSEN_BARE = Beyond("template_share_chosen", "below", "template_share", "PB211", concern=False)
LENGTH_ALONE = Found(("PB505",), ("warning",))

ROWS: tuple[Row, ...] = (
    Row(
        "numerics",
        (Found(("PB0",)),),
        "do-not-train",
        "this run would not survive its first steps, whatever the pairs are",
        "deterministic test of forward, backward and one step",
        "certain",
        "a run whose numerics pass: change the dtype, the optimizer or the mask that the finding names",
        "correct what the finding names, then run the gate again",
    ),
    Row(
        "data",
        (Found(("PB3",), but=("PB31",)),),
        "fix-data",
        "the file itself would spoil training",
        "exact counts in the file",
        "certain",
        "the file without the lines that the finding names",
        "correct the lines that the finding names: `probe data PAIRS --fix OUT.jsonl`",
    ),
    Row(
        "labels",
        (Either((Found(("PB31",)), Beyond("agreement", "below", "agreement", "PB310"))),),
        "fix-data",
        "people do not agree with the labels, so training would teach the labeller's errors",
        "account of a run that fell from 87% to 78%; limit of 80% by convention",
        "moderate",
        "agreement above the limit after relabelling, or a loss that expects a share of flipped labels",
        "relabel (`probe label PAIRS`), or use cDPO with label smoothing = 1 - agreement",
    ),
    Row(
        "unmeasured",
        (Not(Ran(("data", "numerics"))),),
        "do-not-train",
        "nothing is recommended on a file and a set-up that were not checked",
        "what was not run never passes",
        "reasoned",
        "running the data checks and the numerics",
        "measure first: `probe gate PAIRS`",
    ),
    Row(
        "matter-of-fact",
        (
            OVER_BUDGET,
            Leaning("favours rejected"),
            Either((Wanted("fact"), Both((Wanted("auto"), MATCHED, Not(Turned()))))),
        ),
        "do-not-train",
        "sides alike in length, and the model prefers the rejected one by more than DPO usually turns",
        "Chen et al. 2024 (flip budget); knowledge: Ovadia et al. 2023 (retrieval beats tuning)",
        "moderate",
        "`--goal taste` if the pairs are about style",
        "retrieval or a system prompt that holds the facts; else SFT on many documents that state them",
    ),
    Row(
        "errors",
        (Found(("PB",), but=TRIVIAL_CODES),),
        "do-not-train",
        "an error finding stands, and no rule of this table knows how to train around it",
        "every error blocks unless it is accepted by name",
        "reasoned",
        "correcting what the finding names, or accepting it in the config with a reason",
        "correct what the finding names, then run the gate again",
    ),
    Row(
        "form-sft",
        (Failed("template_share"), CHOSEN_BARE, MovesSamples("sft"), LEARNS, Not(LENGTH_ALONE)),
        "sft",
        "a loss that compares the sides would learn that form; SFT reads the chosen side alone",
        "exact counts in the file, and a race on halves of these very pairs; account of a run in which SFT "
        "worked where DPO collapsed on such pairs",
        "moderate",
        "rejected answers without that form",
    ),
    Row(
        "form",
        (Failed("template_share"),),
        "do-not-train",
        "training would learn that form in place of what the pairs are meant to teach",
        "exact counts in the file; accounts of two runs on templated negatives",
        "good",
        "a file in which neither side has a form of its own",
        "remove it from that side by hand or write new answers",
    ),
    Row(
        "template",
        (Found(TRIVIAL_CODES),),
        "do-not-train",
        "the sides are told apart by something else than what the pairs are meant to teach",
        "gate/table.py: an error without its measurement blocks",
        "reasoned",
        "negatives without the shared mannerism",
        "make new negatives with `probe sample`, or measure again with `probe negatives`",
    ),
    Row(
        "wrong-labels",
        (Not(LEARNS), Found(("PB230",), ("warning",))),
        "fix-data",
        "wrong labels teach their opposite, and the trial is not shown to learn",
        "calibrated at 0 to 40% flipped labels (bench/label_noise.py)",
        "moderate",
        "the file without the pairs that the finding lists",
        "look at the lines, then relabel them or leave them out: `probe negatives PAIRS --drop-suspect FILE`",
    ),
    Row(
        "margins-alone",
        (Not(LEARNS), RANKS),
        "do-not-train",
        "given pairs are ranked better, but what the model writes is not shown to follow",
        "in most cells of docs/validity.md in which DPO raised every held-out margin, samples did not "
        "move up beyond chance",
        "moderate",
        "a trial whose samples move to the chosen kind",
        "try a system prompt or answers shown first, which cost no training",
    ),
    Row(
        "undecided",
        (Not(LEARNS),),
        "do-not-train",
        "the short trial has not been shown to learn anything that carries over to other pairs",
        "a trial scores each batch before it is trained on; H0 is accuracy 1/2",
        "reasoned",
        "a trial whose interval lies above 1/2",
        "try a system prompt or answers shown first, which cost no training",
        "run the trial; until then a system prompt is the cheaper change",
        settles=("trial_accuracy", "trial_accuracy"),
    ),
    Row(
        "only-length",
        (LENGTH_ALONE,),
        "do-not-train",
        "what the trial learns is length: summed margins rise, margins per token do not",
        "Park et al. 2024; measured on two sets (docs/validity-appendix.md): full runs did the same",
        "moderate",
        "sides of matched length, or a trial with `--method dpo_norm` that learns per token",
        "match the lengths of the sides; `probe data` names the pairs that differ most (PB330)",
    ),
    Row(
        "race-sft",
        (LEARNS, Won("sft"), Not(LENGTH)),
        "sft",
        "it is the cheapest of the candidates that nothing raced beats beyond noise",
        "a race on halves of these very pairs, under one budget (docs/commands/trial.md)",
        "good",
        "a dearer candidate that is better beyond noise",
    ),
    Row(
        "race-sft+dpo",
        (LEARNS, Won("sft+dpo"), Not(LENGTH)),
        "sft+dpo",
        "it beats the cheaper candidates beyond noise, or they showed nothing",
        "a race on halves of these very pairs, under one budget (docs/commands/trial.md)",
        "good",
        "a cheaper candidate that does as well",
    ),
    Row(
        "race-dpo",
        (LEARNS, Won("dpo"), Not(LENGTH)),
        "dpo",
        "it is the cheapest candidate of which anything was shown, or beats the cheaper ones beyond noise",
        "a race on halves of these very pairs, under one budget (docs/commands/trial.md)",
        "good",
        "a cheaper candidate that does as well",
    ),
    Row(
        "one-stage",
        (LEARNS, AGAINST, Wanted("one stage"), Size("orpo_size")),
        "orpo",
        "the chosen side is improbable and one stage is wanted: ORPO imitates and contrasts at once",
        "Hong et al. 2024: ahead of DPO at 1.3B, behind it at 125M",
        "moderate",
        "allowing two stages",
    ),
    Row(
        "off-policy-length",
        (LEARNS, AGAINST, LENGTH),
        "sft+dpo",
        "the chosen side is improbable, and length tells the sides apart: SFT first, then a loss per token",
        "as the rows `off-policy` and `length`; sums learning length alone: docs/validity-appendix.md",
        "moderate",
        "sides of matched length",
        loss="dpo_norm",
    ),
    Row(
        "off-policy",
        (LEARNS, AGAINST),
        "sft+dpo",
        "DPO from here would push both sides down; SFT moves the model to the chosen side first",
        "Ren & Sutherland 2024; Tunstall et al. 2023",
        "moderate",
        "chosen responses that the model itself finds probable",
    ),
    Row(
        "displaced-alike",
        (LEARNS, DISPLACED, Either((ALIKE, Wanted("correctness")))),
        "dpop",
        "the chosen side would lose probability with the rejected one, which it resembles",
        "Pal et al. 2024; Razin et al. 2024",
        "good",
        "pairs that share less of their text",
    ),
    Row(
        "displaced",
        (LEARNS, DISPLACED),
        "dpo+nll",
        "the chosen side is in danger of losing probability; an NLL term on it holds it up",
        "Pang et al. 2024; Yuan et al. 2024",
        "good",
        "a trial in which the chosen side does not lose probability",
    ),
    Row(
        "length",
        (LEARNS, LENGTH),
        "dpo",
        "length alone tells the sides apart, so the loss counts log-probs per token",
        "Meng et al. 2024; open-instruct's length-normalised DPO",
        "moderate",
        "sides of matched length",
        loss="dpo_norm",
    ),
    Row(
        "learns",
        (LEARNS,),
        "dpo",
        "the pairs teach something that carries over to pairs not trained on, and nothing speaks against DPO",
        "Rafailov et al. 2023; public recipes down to 135M",
        "good",
        "a trial on more pairs in which the chosen side loses probability",
    ),
)

NOTES: tuple[Note, ...] = (
    Note(
        (ALIKE,),
        "PB331",
        "The sides differ little: do not promote the result without `probe compare` on every category.",
        "account of a run that fell from 87% to 78% on low-contrast pairs",
    ),
    Note(
        (DISPLACED, Not(Size("anchor_size"))),
        "PB503",
        "The anchored losses were published at 7B and above; below 1B they are untested.",
        "Pal et al. 2024; Pang et al. 2024",
        ("dpop", "dpo_nll"),
    ),
)
