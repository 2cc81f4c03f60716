"""What the words of the reports mean, one or two plain sentences each: `probe explain margin` prints one.

docs/glossary.md is written from this table. A test holds that every column, condition, estimate, verdict and
unit that a report prints is in it.
"""

from __future__ import annotations

import re

TERMS: dict[str, str] = {
    # What is measured of a pair.
    "prompt": "What the model is given before the response.",
    "chosen": "The response of a pair that training is to make more likely.",
    "rejected": "The response of a pair that training is to make less likely.",
    "logp": "Logarithm of the probability that the model gives to a token or a response, in nats; 0 is "
    "certainty.",
    "gap": "Mean log-probability per token of the chosen response minus that of the rejected one (of answers "
    "with a label: of wanted minus unwanted ones), in nats per token. Above 0 the model prefers the chosen "
    "response already.",
    "gap sum": "The gap with log-probabilities summed over the response instead of averaged, in nats. It "
    "favours the shorter response.",
    "gap byte": "The gap per UTF-8 byte of the text, so that models with different tokenizers can be "
    "compared.",
    "gap bootstrap": "The mean gap with a bootstrap interval, to check the interval of the t test.",
    "gap equivalence": "The test of whether the mean gap lies within the bound on both sides (TOST).",
    "gap prompt corrected": "The gap given the prompt minus the gap without it: what the preference owes "
    "to the prompt.",
    "gap change": "How much training widened the gap on answers that it did not see.",
    "wanted logps change": "Change of the mean log-probability per token of unseen wanted answers.",
    "unwanted logps change": "Change of the mean log-probability per token of unseen unwanted answers.",
    "trial gap change": "What a short KTO run changed on answers to unseen prompts: the change of the wanted "
    "ones minus that of the unwanted ones, in nats per token.",
    "trial wanted change": "What a short KTO run changed of unseen wanted answers, in nats per token.",
    "trial unwanted change": "What a short KTO run changed of unseen unwanted answers, in nats per token.",
    "margin": "Difference between the implicit rewards of the two responses, divided by beta: how much "
    "more the policy than the reference prefers the chosen response, in nats.",
    "reward": "Implicit reward of a response: beta times the change of its log-probability from the "
    "reference.",
    "beta": "The constant of DPO and related losses that scales the margin inside the loss. A small beta "
    "lets the policy move far from the reference.",
    "policy": "The model that is trained.",
    "reference": "The model that the policy is compared with: usually the same weights before training.",
    "win rate": "Share of pairs whose chosen response has the higher log-probability per token.",
    "wins": "How many pairs lean to the side that most pairs lean to, with that side's name.",
    "tie share": "Share of the answers that found both responses equally good.",
    "length ratio": "Length of the chosen response divided by that of the rejected one, as a geometric "
    "mean over pairs.",
    # How sure a number is.
    "n": "How many pairs, or other items, the number rests on.",
    "95% ci": "Confidence interval: measured again on other data of the same kind, such an interval "
    "contains the true value in 95 of 100 cases. Another --alpha gives another level, which the heading "
    "names.",
    "p": "Probability of a result at least this far from the null hypothesis, if the null hypothesis were "
    "true.",
    "p adj.": "The p-value after Holm's correction for the number of groups tested.",
    "d": "Mean paired difference divided by its standard deviation over pairs: the size of an effect "
    "without units.",
    "measured": "The value of this estimate in this run, with its confidence interval.",
    "value": "The measured value.",
    "units": "The units of the value in this row.",
    "name": "The name of the estimate, as in run.json.",
    "method": "In a table of estimates: how the interval was computed. Elsewhere: the training method.",
    "bound": "Half-width of the zone around 0 in which a gap counts as neutral, in nats per token.",
    "group": "The part of the file that a row speaks of; `all` is the whole file.",
    "nats": "Unit of log-probability: one nat is a factor of e ≈ 2.72 in probability.",
    "nats/token": "Nats divided by the tokens of the response.",
    "nats/byte": "Nats divided by the UTF-8 bytes of the response.",
    "bits": "Unit of information: one bit is a factor of 2 in probability.",
    "share": "A part of the whole, printed in per cent.",
    "ratio": "One number divided by another; 1 means that they are equal.",
    "cosine": "Cosine of the angle between two vectors: 1 the same direction, 0 unrelated, −1 opposite.",
    "hidden²": "Squared units of the model's final hidden state; they have no meaning outside one model.",
    "log-odds": "Logarithm of the odds that a classifier gives; 0 is undecided.",
    "correlation": "Correlation coefficient between −1 and 1.",
    "tokens": "How many tokens; of a lever, how many it adds to each request.",
    "words": "Mean number of words of a sampled response, before and after.",
    "prompts": "How many prompts.",
    "pairs": "How many pairs, or the share of the pairs in question.",
    # Verdicts.
    "verdict": "What the measurement shows of a group or of the whole run, at the test level that was "
    "asked for.",
    "favours chosen": "The model prefers the chosen side by more than the bound, as far as the test can "
    "tell.",
    "favours rejected": "The model prefers the rejected side by more than the bound, as far as the test "
    "can tell.",
    "neutral": "The mean gap is shown to lie within the bound.",
    "undetermined": "Neither a preference nor its absence is shown; more pairs are needed.",
    "unstable": "The verdict changes with another way to measure, such as another template or length "
    "correction.",
    "condition": "One requirement of the gate: an estimate and its limit, or that no error was found.",
    "limit": "The value that an estimate is compared with.",
    "result": "What became of a condition: pass, fail, inconclusive or accepted; of a number that fails no "
    "gate, note, open or decides.",
    "note": "A number past its limit that neither fails the gate nor carries the decision.",
    "open": "A number that fails no gate, and was not measured or is not shown to lie past its limit.",
    "decides": "A number past its limit that fails no gate by itself, and that the decision rests on.",
    "decision": "The method that the gate recommends, or that it recommends none. The verdict says "
    "whether the conditions are met, the decision what to do in either case.",
    "recommended method": "The condition that the gate recommends some method: where it says not to train, "
    "this fails, whatever else passes.",
    "evidence": "What a rule of the decision table rests on: certain (arithmetic or exact counts), good "
    "(measured on these pairs, or published on several models), moderate (published once, an account, a "
    "convention), or reasoned, which nobody has measured.",
    "pass": "Shown to be on the right side of the limit; of a condition that forbids, not shown to be on the "
    "wrong side by enough pairs; of a run, that no condition failed or stayed open.",
    "fail": "Shown to be on the wrong side of the limit; of a run, that at least one condition failed.",
    "inconclusive": "Not measured, or too few pairs to tell on which side of the limit the value lies.",
    "accepted": "A finding that the configuration accepts, with a reason and a date until which that holds.",
    "until": "The last day on which an accepted finding is accepted.",
    "reason": "Why a finding is accepted, as the configuration says.",
    "for information": "Such a condition is shown and does not change the verdict.",
    "code": "The code of a finding, such as PB101; `probe explain PB101` says what it means.",
    "error": "A finding that spoils training or the measurement.",
    "warning": "A finding that may spoil training or change what it teaches.",
    "info": "A finding that is worth knowing and needs no action.",
    # The file.
    "check": "What was looked for in the file.",
    "found": "How many rows or pairs the check found.",
    "data": "The condition that the file has no error that spoils training.",
    "effective prompts": "The number of prompts, counted so that prompts with many pairs do not hide that "
    "there are few: 1 / Σ share².",
    "largest prompt": "Share of the pairs that have the most frequent prompt.",
    "malformed lines": "Share of the lines that are no pair.",
    "longer wins": "Share of the pairs whose chosen response is the longer one.",
    "covered": "Share of the pairs in which exactly one response opens by refusing, doubting or objecting.",
    "chosen holds back": "Where exactly one response opens by refusing, doubting or objecting: share in "
    "which it is the chosen one.",
    "hardly related": "Of the pairs in which that differs, the share whose two responses have more words "
    "in common than responses of different pairs; a low one is bad.",
    "unequal truncation": "Difference between the two sides' share of responses that the maximum length "
    "cuts.",
    "agreement": "Share of the answers of a blind human re-label that agree with the file's labels.",
    "left share": "Share of the answers that took the response shown on the left; one half if place did "
    "not matter.",
    "kappa": "Cohen's kappa: agreement beyond what chance would give; 1 is full agreement, 0 is chance.",
    "krippendorff alpha": "Krippendorff's alpha: agreement among all labellers beyond chance; 1 is full "
    "agreement.",
    "label noise": "Estimated share of the pairs whose label is the wrong way round.",
    # How easily the sides are told apart.
    "told apart by": "The features from which a classifier guesses which response is the chosen one.",
    "sees": "Whether the classifier sees the prompt or the responses alone.",
    "accuracy": "Share of held-out pairs that are told apart, or ranked, rightly.",
    "surface accuracy": "Accuracy of a classifier of the text without the prompt. Near 1, wording alone "
    "gives the label away.",
    "states accuracy": "Accuracy of a classifier of the model's hidden states without the prompt.",
    "length accuracy": "Accuracy of guessing the chosen response by its length alone.",
    "signal accuracy": "Accuracy of a linear classifier of the hidden states given the prompt: a forecast "
    "of the held-out accuracy after training.",
    "surface": "Log-odds that the classifier of the text gives to the true label of the pair.",
    "signal": "Log-odds that the linear classifier of the hidden states gives to the true label of the pair.",
    "template share": "Share of one side's responses with a form, such as an opening, that the other side "
    "lacks.",
    "template share chosen": "Share of the chosen responses with a form that the rejected ones lack: SFT "
    "would learn it.",
    "flip budget share": "Share of the pairs that training must turn round by more than 1/beta nats.",
    "misranked share": "Share of the pairs whose rejected response has the higher log-probability before "
    "training.",
    "ches": "How alike the hidden states of the two responses are (centred hidden embedding similarity). "
    "A high value means that training may lower the chosen response too.",
    "ches ln": "CHES divided by length, so that it does not measure length alone.",
    "entanglement": "Share of the pairs whose chosen response loses probability in a small DPO step on "
    "that pair.",
    "entanglement healthy": "Share of the pairs for which a small DPO step raises the chosen and lowers "
    "the rejected response.",
    "gradient cosine": "Cosine between the gradients of the two responses' log-probabilities.",
    "side": "The response that a row speaks of: chosen, rejected, or the model's own samples.",
    "logp/token": "Mean log-probability per token, in nats.",
    "logp + entropy": "Log-probability per token plus the model's entropy there: about 0 for what the "
    "model itself would sample, below 0 for text written by someone else.",
    "chosen excess": "The `logp + entropy` of the chosen response.",
    "rejected excess": "The `logp + entropy` of the rejected response.",
    "sampled excess": "The `logp + entropy` of the model's own samples.",
    "chosen over sampled": "Difference in `logp + entropy` between the chosen responses and the model's "
    "own samples.",
    "rejected over sampled": "Difference in `logp + entropy` between the rejected responses and the "
    "model's own samples.",
    "first choice": "Share of the tokens that are the model's most likely next token.",
    "written": "How a side reads to the model: like its own samples, more certain, less probable, or "
    "decoded greedily.",
    # Training, trials, numerics.
    "numerics": "The condition that forward pass, backward pass and one step stay finite.",
    "initial loss": "Loss before the first step. For DPO and losses like it, with a reference, it must be "
    "ln 2 ≈ 0.693.",
    "trial accuracy": "Share of unseen pairs whose margin a short trial raises, as the reward accuracy that "
    "trainers log. It says nothing of how many are ranked right: see ranking change.",
    "answer movement": "Of the answers on unseen prompts that a short trial moved, the share that moved to "
    "the chosen kind, by a classifier that was fitted on the training pairs.",
    "trial chosen change": "Change of the chosen responses' log-probability per token in the trial, on "
    "unseen pairs.",
    "ranking change": "Change of the share of unseen pairs whose chosen response is likelier per token; "
    "a trial counts its end.",
    "forecast accuracy": "Forecast of the held-out accuracy after the full training.",
    "forecast accuracy clean": "The forecast accuracy on rightly labelled pairs, with the estimated label "
    "noise taken out.",
    "forecast chosen change": "Forecast of how the chosen responses' log-probability changes in the full "
    "training.",
    "behaviour up": "Share of prompts whose samples moved to the chosen side, among the unseen prompts "
    "whose samples moved.",
    "behaviour unchanged": "Share of unseen prompts whose samples are the same as before, token for token.",
    "behaviour judge": "Accuracy of the classifier that says which side a sample resembles, on held-out "
    "responses.",
    "weights moved": "Share of the trained weights whose stored number one optimizer step changes at all.",
    "gradient noise": "Batch size at which the noise of the gradient equals its signal; a larger batch "
    "gains little.",
    "chosen change": "Change of the log-probability per token of held-out chosen responses from the "
    "reference.",
    "margin up": "Share of unseen pairs whose margin the trial raises.",
    "ranked right": "Change of the share of unseen pairs whose chosen response, its end counted, is "
    "likelier per token.",
    "up": "Unseen prompts whose samples moved towards the chosen side.",
    "down": "Unseen prompts whose samples moved towards the rejected side.",
    "same": "Unseen prompts whose samples are the same as before, token for token.",
    "form up:down": "The same two counts for the form of the samples alone, such as length and layout.",
    "loss": "The loss of a pair after the trial, in nats; DPO starts every pair at ln 2 ≈ 0.693, and a pair "
    "above that is misranked.",
    "after the trial": "Whether the margin of a pair that the trial did not train on is above 0 (ranked "
    "right) or below (misranked).",
    "judge": "Accuracy of the classifier that says which side a sample resembles.",
    "step": "The optimizer step at which something was seen.",
    "event": "What the guard did: warn, stop, or go back to the best weights.",
    "what": "What was seen or done.",
    "setting": "A hyper-parameter of the recommended training.",
    "learning rate": "Size of the optimizer's steps.",
    "epochs": "How often training passes over the pairs.",
    "lora": "Low-rank adapter: a small set of added weights that is trained instead of the model's own.",
    # Comparisons, before and after.
    "before": "The value before training; of a lever, the seconds that it costs before the first request.",
    "after": "The value after training.",
    "change": "The value after minus the value before, on the same items.",
    "difference": "The second value minus the first, on the same items.",
    "grade": "A grade that was given to an answer, by a person or a judge, as handed in with --scores.",
    "watched": "Log-probability per token of the general texts of --watch, which training should not lower.",
    "repetition": "Share of a sampled answer's three-token sequences that it has had before.",
    "length": "Tokens of a sampled answer.",
    "distinct 1": "Number of different tokens of the answers divided by all their tokens.",
    "distinct 2": "Number of different two-token sequences of the answers divided by all of them.",
    "turned": "Pairs that were ranked wrongly before and are ranked rightly after.",
    "lost": "Pairs that were ranked rightly before and are ranked wrongly after.",
    "run": "One saved run of the comparison.",
    "model": "The model that was measured.",
    "apart by": "The settings in which the runs differ, besides what is compared.",
    "perplexity": "Exponential of the mean negative log-probability per token: 1 is certainty, higher is "
    "less sure.",
    "neutral ppl": "Perplexity of general text that has nothing to do with the pairs.",
    # What pairs teach besides what is intended.
    "trait": "A property of the responses, such as brevity, for which texts with and without it are "
    "compared.",
    "w": "How much more the chosen responses make a trait's texts likely than the rejected ones do, in "
    "nats per token.",
    "weight": "The `w` of a trait.",
    "beyond": "`w` beyond that of control texts: what the pairs teach of this trait.",
    "effect": "`w` beyond that of control texts: what the pairs teach of this trait.",
    "attribute": "A property that can be counted in a text by a rule, such as its number of sentences.",
    "lever": "A way to change the model's behaviour: a system prompt, examples, steering, or training.",
    "how": "How the lever is applied.",
    # Rows and costs.
    "file": "The measured file.",
    "line": "The line of the pair in its file.",
    "lines": "Lines of pairs that show it best.",
    "id": "The pair's own id, or its line where it has none.",
    "probe": "One measurement of the gate.",
    "time": "Seconds that it took.",
    "why": "What the row rests on.",
}


def definition(term: str) -> str | None:
    """What a printed term means, or None. Underscores, case and what follows a `:` or `@` do not matter.

    A term that ends in `change` and has no entry of its own is the change of what stands before it.
    """
    plain = re.sub(r"\s+", " ", term.replace("_", " ")).strip().lower()
    if plain in TERMS:
        return TERMS[plain]
    if re.fullmatch(r"([\d.]+% )?ci", plain):
        return TERMS["95% ci"]
    head = re.split(r"[:@]", plain)[0].strip()
    if head != plain:
        return definition(head)
    base = plain.removesuffix(" change")
    if base != plain and (meaning := definition(base)) is not None:
        return f"How this changed: {meaning[0].lower()}{meaning[1:]}"
    return None
