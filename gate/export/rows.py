"""Pairs in the row forms of other tools. Chat templates are left to the tool; any other template is applied.

`template` is the resolved name that the run was measured under: `chat`, `raw`, `qa` or a text with {prompt}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import ProbeError
from ...pairs.identity import TEMPLATE_OPTIONS, handed_options
from ...pairs.implicit import says_rendered
from ...pairs.record import Content, Pair, is_chat, text_of

ToolRow = dict[str, Any]
MakeRow = Callable[[Pair, str], ToolRow]


def chat_messages(content: Content | None, role: str) -> list[ToolRow]:
    """Chat messages: those of the file, or the text as one message of `role`."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    return [dict(message) for message in content]


def prompt_text(pair: Pair, template: str) -> str:
    """The text before the response, template applied; for raw the file's own words."""
    from ...scoring.templates import QA

    text = text_of(pair.prompt)
    frame = {"raw": "{prompt}", "qa": QA}.get(template, template)
    return frame.replace("{prompt}", text)


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the rows of a run were rendered: the template of text rows, whether chat rows went through the
    chat template, and the tokenizer's special tokens, which mark a prompt that is rendered already."""

    template: str
    chat: bool
    special: tuple[str, ...] = ()

    def check(self, pair: Pair, tool: str) -> None:
        """Raises `ProbeError` for a row that the tool would render otherwise than it was measured."""
        if self.template == "chat" or tool == "openai":
            if why := self._raw(pair):
                other = "export to trl" if tool == "openai" else "gate with --template raw"
                raise ProbeError(
                    f"line {pair.line}: {why}, so it was measured raw, and {tool} would put the chat "
                    f"template around it. Write the row as chat messages, use `probe train`, or {other}."
                )
        elif self.chat and is_chat(pair):
            raise ProbeError(
                f"line {pair.line}: these chat messages were measured under the chat template, the text "
                f"rows under {self.template!r}, and {tool} takes one form. Write all rows in one, or use "
                "`probe train`."
            )

    def _raw(self, pair: Pair) -> str:
        """Why the encoder takes a row raw beside chat rows; "" where it does not."""
        if is_chat(pair):
            return ""
        if not pair.prompt:
            return "this text row has no prompt"
        return "this prompt is rendered already" if says_rendered(text_of(pair.prompt), self.special) else ""


# Which of the two each tool hands to the chat template row by row.
READS: dict[str, frozenset[str]] = {
    "trl": frozenset(TEMPLATE_OPTIONS), "axolotl": frozenset({"tools"}), "llamafactory": frozenset({"tools"}),
    "alignment-handbook": frozenset(), "mlx-lm-lora": frozenset(), "openai": frozenset({"tools"}),
}  # fmt: skip


def handed(pair: Pair, tool: str) -> ToolRow:
    """What the pair hands to the chat template. TRL passes an empty list of tools on, the others none."""
    return {name: value for name, value in handed_options(pair.meta).items() if value or tool == "trl"}


def with_options(row: ToolRow, pair: Pair, tool: str, any_of: frozenset[str]) -> ToolRow:
    """The row with what the pair hands to the chat template; `any_of` are the options that any row has.

    Tools are JSON text, since tables fill lists of objects up with nulls; the hosted form has them as a list
    in its input. Raises `ProbeError` where the tool would leave an option or a turn out.
    """
    given = handed(pair, tool)
    if lost := sorted(set(given) - READS[tool]):
        raise ProbeError(
            f"line {pair.line}: {tool} gives no {lost[0]} to the chat template, so it would train on other "
            "tokens. Export to trl, or use `probe train`."
        )
    if tool == "llamafactory" or (tool == "axolotl" and "chosen" in row):
        _check_ranked(pair, tool)
    if tool == "llamafactory":
        _check_turns(pair)
    if tool == "mlx-lm-lora" and len(chat_messages(pair.chosen, "assistant")) > 1:
        raise ProbeError(
            f"line {pair.line}: mlx-lm-lora trains the last message of a dialogue alone, and the chosen side "
            "has several turns. Export to trl, or use `probe train`."
        )
    if tool == "axolotl" and "chosen" in row and "tools" in given:
        raise ProbeError(
            f"line {pair.line}: axolotl's form of preferences gives no tools to the chat template, so it "
            "would train on other tokens. Export to trl, or use `probe train`."
        )
    tools = given.get("tools")
    if tool == "openai":
        listed = json.loads(tools) if isinstance(tools, str) else tools
        beside = {"input": {**row["input"], "tools": listed}} if "input" in row else {"tools": listed}
        return {**row, **beside} if listed else row
    text = tools if isinstance(tools, str | None) else json.dumps(tools, ensure_ascii=False)
    none = None if tool == "trl" else ""  # TRL reads any text as JSON
    more = {"tools": text or none, "chat_template_kwargs": given.get("chat_template_kwargs") or {}}
    return {**row, **{name: value for name, value in more.items() if name in any_of}}


def _check_turns(pair: Pair) -> None:
    """LLaMA-Factory drops a dialogue whose turns do not change between user and assistant, with a warning."""
    roles = [turn.get("role") for turn in chat_messages(pair.prompt, "user")]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if len(turns) % 2 == 0 or any(role != ("user", "assistant")[i % 2] for i, role in enumerate(turns)):
        raise ProbeError(
            f"line {pair.line}: llamafactory leaves out dialogues whose roles are not user and assistant in "
            f"turn ({', '.join(map(str, roles))}). Export to trl, or use `probe train`."
        )


def _check_ranked(pair: Pair, tool: str) -> None:
    """Forms of one message a side, without calls in the form of chat templates: LLaMA-Factory's, and
    Axolotl's of preferences, which keeps the last message of a side and of it the content alone."""
    for side in (pair.chosen, pair.rejected):
        turns = chat_messages(side, "assistant")
        if len(turns) > 1 or turns[0].get("tool_calls"):
            what = "several turns a side" if len(turns) > 1 else "tool calls"
            raise ProbeError(
                f"line {pair.line}: {tool}'s form has no place for {what}. Export to trl, or use "
                "`probe train`."
            )


def preference_row(pair: Pair, template: str) -> ToolRow:
    """`prompt`, `chosen`, `rejected`: messages under `chat`, else text."""
    if template == "chat":
        sides = {"chosen": pair.chosen, "rejected": pair.rejected}
        turns = {name: chat_messages(content, "assistant") for name, content in sides.items()}
        return {"prompt": chat_messages(pair.prompt, "user"), **turns}
    words = {"chosen": text_of(pair.chosen), "rejected": text_of(pair.rejected)}
    return {"prompt": prompt_text(pair, template), **words}


def completion(pair: Pair, template: str) -> ToolRow:
    """`prompt` and `completion` (the chosen side): messages under `chat`, else text."""
    row = preference_row(pair, template)
    return {"prompt": row["prompt"], "completion": row["chosen"]}


def dialogue(pair: Pair, template: str = "chat") -> ToolRow:
    """`messages`: the prompt and the chosen side as one dialogue."""
    return {"messages": [*chat_messages(pair.prompt, "user"), *chat_messages(pair.chosen, "assistant")]}


TRAIN_MARK = "train"  # the field of a message that says whether it is trained


def answers_marked(pair: Pair, template: str = "chat") -> ToolRow:
    """The dialogue with each message marked: trained are the answers of the chosen side, not earlier ones."""
    before = [{**turn, TRAIN_MARK: False} for turn in chat_messages(pair.prompt, "user")]
    own = [
        {**turn, TRAIN_MARK: turn.get("role") == "assistant"}
        for turn in chat_messages(pair.chosen, "assistant")
    ]
    return {"messages": [*before, *own]}


def weighted(pair: Pair, template: str = "chat") -> ToolRow:
    """The hosted services' dialogue: earlier answers have the weight 0, since all are trained without one."""
    before = [
        {**turn, "weight": 0} if turn.get("role") == "assistant" else turn
        for turn in chat_messages(pair.prompt, "user")
    ]
    return {"messages": [*before, *chat_messages(pair.chosen, "assistant")]}


def dialogues(pair: Pair, template: str = "chat") -> ToolRow:
    """`chosen` and `rejected` as two whole dialogues, the prompt in both."""
    prompt = chat_messages(pair.prompt, "user")
    return {
        "chosen": [*prompt, *chat_messages(pair.chosen, "assistant")],
        "rejected": [*prompt, *chat_messages(pair.rejected, "assistant")],
    }


def ranked(pair: Pair, template: str) -> ToolRow:
    """LlamaFactory's ranking form: `messages` before, one message a side; text columns without chat."""
    if template != "chat":
        return preference_row(pair, template)
    last = {
        "chosen": chat_messages(pair.chosen, "assistant")[-1],
        "rejected": chat_messages(pair.rejected, "assistant")[-1],
    }
    return {"messages": chat_messages(pair.prompt, "user"), **last}


def instructed(pair: Pair, template: str = "chat") -> ToolRow:
    """mlx-lm-lora's preference form: one question as text, a system text, one answer a side.

    Raises `ProbeError` with the line for a dialogue that has no place in it.
    """
    prompt = chat_messages(pair.prompt, "user")
    sides = {name: chat_messages(getattr(pair, name), "assistant") for name in ("chosen", "rejected")}
    roles = [turn["role"] for turn in prompt]
    plain = all(
        isinstance(turn.get("content"), str) for turn in [*prompt, *sides["chosen"], *sides["rejected"]]
    )
    single = all(len(turns) == 1 and not turns[0].get("tool_calls") for turns in sides.values())
    if roles not in (["user"], ["system", "user"]) or not plain or not single:
        raise ProbeError(
            f"line {pair.line}: mlx-lm-lora's form has one question and one answer in plain text. Export to "
            "trl, or use `probe train`."
        )
    system = {"system": prompt[0]["content"]} if len(prompt) == 2 else {}
    answers = {name: turns[0]["content"] for name, turns in sides.items()}
    return {**system, "prompt": prompt[-1]["content"], **answers}


def hosted(pair: Pair, template: str = "chat") -> ToolRow:
    """The hosted services' preference form."""
    return {
        "input": {"messages": chat_messages(pair.prompt, "user")},
        "preferred_output": chat_messages(pair.chosen, "assistant"),
        "non_preferred_output": chat_messages(pair.rejected, "assistant"),
    }
