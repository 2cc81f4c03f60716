"""`probe data`: injected faults are found at their lines, clean files have none, real files are right."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.explain import explanations
from probe.pairs.read import read_pairs
from probe.probes.data.fix import certainly_broken, write_fixed
from probe.probes.data.limits import DATA_LIMITS, data_limits
from probe.probes.data.run import DataRequest, check_data
from probe.probes.data.survey import Surveyed, survey
from probe.records import Finding
from probe.reports.answer import summary

SHARED = Path(__file__).parents[3].parent / "shared/data"
WORDS = [
    f"{a}{b}{c}"
    for a in "bdfgklmnprst"
    for b in ("a", "e", "i", "o", "ou")
    for c in ("n", "r", "lt", "mp", "st")
]
Row = dict[str, Any]
SIDES = ("chosen", "rejected")


def clean_rows(n: int, seed: int) -> list[Row]:
    """Pairs whose sides speak of the prompt's subject, at lengths drawn alike."""
    draw = random.Random(seed)

    def side(subject: list[str]) -> str:
        return " ".join(draw.sample(subject * 2 + draw.sample(WORDS, 12), draw.randint(16, 22)))

    rows = []
    for _ in range(n):
        subject = draw.sample(WORDS, 6)
        rows.append({"prompt": " ".join(subject) + "?\n", "chosen": side(subject), "rejected": side(subject)})
    return rows


def write(path: Path, rows: list[Row | str]) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def check(path: Path, against: Path | None = None, **fields: str) -> Surveyed:
    read = partial(read_pairs, fields=fields, skip_bad=True, lenient=True)
    return survey(partial(read, path), data_limits(), against=partial(read, against) if against else None)


def findings(surveyed: Surveyed) -> dict[str, Finding]:
    return {result.finding.code: result.finding for result in surveyed.results if result.finding}


def shouted(row: Row) -> Row:
    return {**row, "rejected": "  ".join(row["chosen"].upper().split())}


def reworded(row: Row) -> Row:
    """One word of about twenty is another: 19 of 21 words are shared."""
    return {**row, "chosen": " ".join(["quite", *row["chosen"].split()[1:]])}


IN_PLACE: dict[str, Callable[[Row], Row | str]] = {
    "PB300": lambda row: json.dumps(row)[:-5],
    "PB301": lambda row: {**row, "rejected": " \n"},
    "PB302": lambda row: {**row, "rejected": row["chosen"]},
    "PB303": shouted,
    "PB305": lambda row: {**row, "prompt": row["prompt"].strip(), "chosen": " " + row["chosen"]},
    "PB306": lambda row: {**row, "chosen": row["chosen"] + "\x07"},
    "PB307": lambda row: {**row, "rejected": row["rejected"] + " cafÃ©"},
    "PB309": lambda row: {**row, "id": "7000"},  # a row of that id is added
    "PB335": lambda row: {**row, "rejected": row["chosen"][: len(row["chosen"]) // 2]},
    "PB308": lambda row: {**row, "chosen": row["prompt"] + row["chosen"]},
}
APPENDED: dict[str, Callable[[Row], Row]] = {
    "PB320": lambda row: {**row, "chosen": row["rejected"], "rejected": row["chosen"]},
    "PB321": lambda row: {**row, "prompt": f" {row['prompt']}\n"},
    "PB322": reworded,
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    seed=st.integers(0, 999),
    faults=st.dictionaries(st.integers(0, 59), st.sampled_from([*IN_PLACE, *APPENDED]), max_size=8),
)
def test_every_mixture_of_faults_is_found_at_its_lines(
    tmp_path: Path, seed: int, faults: dict[int, str]
) -> None:
    rows: list[Row | str] = list(clean_rows(60, seed))
    wanted: dict[str, set[int]] = {}
    for index, code in faults.items():
        row = rows[index]
        assert isinstance(row, dict)
        if code in IN_PLACE:
            rows[index] = IN_PLACE[code](row)
            wanted.setdefault(code, set()).add(index + 1)
        else:
            rows.append(APPENDED[code](row))
            wanted.setdefault(code, set()).update({len(rows)} | ({index + 1} if code == "PB320" else set()))
    if "PB309" in wanted:
        rows.insert(0, {**clean_rows(1, 1000 + seed)[0], "id": 7000})
        wanted = {code: {line + 1 for line in lines} for code, lines in wanted.items()}
    found = findings(check(write(tmp_path / "p.jsonl", rows)))
    assert found.pop("PB327").severity == "info"  # 60 pairs are few
    assert {code: set(finding.lines) for code, finding in found.items()} == wanted


@pytest.mark.parametrize("seed", range(5))
def test_clean_file_has_no_finding(tmp_path: Path, seed: int) -> None:
    assert findings(check(write(tmp_path / "p.jsonl", list(clean_rows(300, seed))))) == {}


def only(found: dict[str, Finding], *codes: str) -> None:
    assert sorted(found) == sorted(codes)


def test_length_gap_has_its_own_code(tmp_path: Path) -> None:
    rows = [{**row, "rejected": " ".join(row["rejected"].split()[:8])} for row in clean_rows(200, 1)]
    found = findings(check(write(tmp_path / "p.jsonl", rows)))
    only(found, "PB330")
    assert "100% of pairs" in found["PB330"].message


def test_lengths_are_compared_where_both_sides_have_words(tmp_path: Path) -> None:
    """An empty side is told as such; it is not the shorter one, in the share as little as in the ratio."""
    rows = clean_rows(200, 1)
    for emptied in (60, 200):
        some = [{**row, "rejected": ""} if i < emptied else row for i, row in enumerate(rows)]
        only(findings(check(write(tmp_path / "p.jsonl", some))), "PB301")


def test_the_remedy_for_lengths_that_match_is_not_to_match_them(tmp_path: Path) -> None:
    rows = [{**row, "chosen": row["rejected"] + " indeed"} for row in clean_rows(200, 1)]
    found = findings(check(write(tmp_path / "p.jsonl", rows)))["PB330"]
    assert "1.05 times as long" in found.message and "longer in 100%" in found.message
    assert "0.8" not in found.remedy and "neither side" in found.remedy


@pytest.mark.parametrize(
    ("short", "long", "cut"),
    [("5", "50", False), ("A", "AB", False), ("cat", "cats", False), ("是", "是的", False),
     ("Yes", "Yes, it is.", True), ("5", "5 apples", True),
     ("one answer that is cut sho", "one answer that is cut short here", True)],
)  # fmt: skip
def test_a_short_answer_inside_a_word_is_no_cut_side(
    tmp_path: Path, short: str, long: str, cut: bool
) -> None:
    rows = [{**row, "chosen": long, "rejected": short} for row in clean_rows(40, 1)]
    assert ("PB335" in findings(check(write(tmp_path / "p.jsonl", rows)))) is cut


REFUSALS = ["Sorry, that is not something I do.", "I decline. Please ask a lawyer about this.",
            "No! That would be against the law.", "I can't: it may hurt somebody else there."]  # fmt: skip


def test_refusals_beside_answers_are_no_strangers_and_are_known_by_any_sign(tmp_path: Path) -> None:
    rows = [
        {**row, "chosen": REFUSALS[i % 4]} if i % 2 else {**row, "rejected": REFUSALS[i // 2 % 4]}
        for i, row in enumerate(clean_rows(200, 4))
    ]
    found = findings(check(write(tmp_path / "p.jsonl", rows)))
    assert "PB332" not in found
    assert "objection in 100 pairs, the rejected side alone in 100" in found["PB333"].message


def test_low_contrast_has_its_own_code(tmp_path: Path) -> None:
    rows = []
    for row in clean_rows(200, 2):
        words = row["chosen"].split()
        rows.append({**row, "rejected": " ".join([*words[:5], "never", *words[6:]])})
    only(findings(check(write(tmp_path / "p.jsonl", rows))), "PB331")


def test_strangers_are_hardly_related(tmp_path: Path) -> None:
    rows = clean_rows(900, 3)
    moved = [
        {**row, "rejected": other["rejected"]} for row, other in zip(rows, rows[7:] + rows[:7], strict=True)
    ]
    only(findings(check(write(tmp_path / "p.jsonl", moved))), "PB332")


LABELS = {
    "one word": ["Yes", "No"],
    "letters": ["A", "B", "C", "D"],
    "classes of some words": [
        "the review is clearly a positive one",
        "this text sounds quite negative to me",
        "nothing here points in either direction",
        "it cannot be said from these words",
    ],
    "many classes": [f"the intent is {a} {b}" for a in WORDS[:8] for b in WORDS[60:66]],
    "short answers of their own": [],
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_and_short_answers_are_no_strangers(tmp_path: Path, kind: str) -> None:
    """Answers by a label, or in a few words, share no words with one another, whatever the prompt."""
    draw = random.Random(9)
    rows = [
        {**row, **dict(zip(("chosen", "rejected"), draw.sample(LABELS[kind] or WORDS, 2), strict=True))}
        for row in clean_rows(500, 9)
    ]
    assert "PB332" not in findings(check(write(tmp_path / "p.jsonl", rows)))


def test_a_few_stock_answers_on_one_side_are_strangers(tmp_path: Path) -> None:
    rows = clean_rows(500, 10)
    stock = [{**row, "rejected": rows[i % 40]["rejected"]} for i, row in enumerate(rows)][40:]
    assert "PB332" in findings(check(write(tmp_path / "p.jsonl", stock)))


@pytest.mark.parametrize(
    ("pairs", "prompts", "severity", "text"),
    [
        (60, 60, "info", "with 60 pairs the tests have 80% power only for a preference that wins 70% of"),
        (40, 4, "warning", "40 pairs on 4 prompts cannot show a preference, however clear; 6 prompts are"),
        (400, 4, "warning", "400 pairs on 4 prompts cannot show a preference, however clear; 6 prompts"),
        (600, 60, "info", "with 600 pairs on 60 prompts, taken for 60 independent ones since nothing is"),
        (4, 4, "warning", "4 pairs cannot show a preference, however clear; 6 are the least that can"),
        (600, 300, None, ""),
    ],
)
def test_pairs_that_share_a_prompt_count_as_one(
    tmp_path: Path, pairs: int, prompts: int, severity: str | None, text: str
) -> None:
    rows = clean_rows(pairs, 11)
    shared = [{**row, "prompt": rows[i % prompts]["prompt"]} for i, row in enumerate(rows)]
    found = findings(check(write(tmp_path / "p.jsonl", shared))).get("PB327")
    assert (found.severity if found else None) == severity
    assert found is None or found.message.startswith(text)
    assert pairs == 4 or found is None or ("wins 70% of them or more" in found.message) == (prompts == 60)


def test_prompts_of_unequal_shares_count_as_fewer(tmp_path: Path) -> None:
    """One prompt has 61 of 100 pairs: 1/Σ share² is 2.7, and 40 prompts that agree are still a result."""
    rows = clean_rows(100, 12)
    shared = [{**row, "prompt": rows[max(i - 60, 0)]["prompt"]} for i, row in enumerate(rows)]
    found = findings(check(write(tmp_path / "p.jsonl", shared)))["PB327"]
    assert found.message.startswith("with 100 pairs on 40 prompts, taken for 6 independent ones")
    alone = [{**row, "prompt": None} for row in rows]
    told = findings(check(write(tmp_path / "q.jsonl", alone)))["PB327"].message
    assert told.startswith("with 100 pairs the tests")


def test_a_group_of_few_prompts_is_small_however_many_its_pairs(tmp_path: Path) -> None:
    rows = clean_rows(400, 13)
    shared = [
        {**row, "group": "ab"[i % 2], "prompt": rows[i % 10 if i % 2 else i]["prompt"]}
        for i, row in enumerate(rows)
    ]
    found = findings(check(write(tmp_path / "p.jsonl", shared)))["PB326"]
    assert found.message == 'group "b" has 5 prompts; 6 is the least number that can show anything'


def test_the_summary_tells_of_too_few_prompts(tmp_path: Path) -> None:
    rows = clean_rows(40, 14)
    shared = [{**row, "prompt": rows[i % 4]["prompt"]} for i, row in enumerate(rows)]
    told = " ".join(summary(check_data(DataRequest(write(tmp_path / "p.jsonl", shared)))))
    assert told.count("40 pairs on 4 prompts cannot show a preference") == 1
    told = " ".join(summary(check_data(DataRequest(write(tmp_path / "q.jsonl", clean_rows(12, 15))))))
    assert told.count("With 12 pairs the tests have 80% power") == 1


def test_few_prompts_and_unequal_groups(tmp_path: Path) -> None:
    rows = clean_rows(300, 4)
    few = [{**row, "prompt": rows[i % 10]["prompt"]} for i, row in enumerate(rows)]
    assert "10 prompts, as good as 10.0" in findings(check(write(tmp_path / "p.jsonl", few)))["PB325"].message
    named = [{**row, "group": "small" if i < 3 else "large"} for i, row in enumerate(rows)]
    found = findings(check(write(tmp_path / "g.jsonl", named)))
    assert found["PB326"].message == 'group "small" has 3 pairs, "large" has 297'


def declining(text: str) -> str:
    return " ".join(["I", "cannot", *text.split()[2:]])


def test_direction_of_the_answers(tmp_path: Path) -> None:
    rows = clean_rows(300, 5)
    always = [{**row, "rejected": declining(row["rejected"])} for row in rows]
    found = findings(check(write(tmp_path / "p.jsonl", always)))
    only(found, "PB334")
    assert "the rejected one in 300 of 300 pairs" in found["PB334"].message
    by_context = [
        {**row, side: declining(row[side])}
        for i, row in enumerate(rows)
        for side in (("chosen", "rejected")[i % 2],)
    ]
    only(findings(check(write(tmp_path / "p.jsonl", by_context))), "PB333")


def chat(*roles: str) -> list[Row]:
    return [{"role": role, "content": f"{role} says {i}"} for i, role in enumerate(roles)]


@pytest.mark.parametrize(
    ("prompt", "chosen", "odd"),
    [
        (["user"], ["assistant"], False),
        (["system", "user", "assistant", "user"], ["assistant"], False),
        (["user"], ["assistant", "tool", "assistant"], False),
        (["user", "user"], ["assistant"], True),
        (["user", "system"], ["assistant"], True),
        (["user"], ["user"], True),
        (["user"], ["assistant", "user"], True),
        (["human"], ["assistant"], True),
    ],
)
def test_order_of_turns(tmp_path: Path, prompt: list[str], chosen: list[str], odd: bool) -> None:
    row = {
        "prompt": chat(*prompt),
        "chosen": chat(*chosen),
        "rejected": [{"role": "assistant", "content": "no"}],
    }
    found = findings(check(write(tmp_path / "p.jsonl", [row])))
    assert ("PB304" in found) == odd


def test_leaks_between_two_files(tmp_path: Path) -> None:
    train, test = clean_rows(50, 6), clean_rows(50, 7)
    test[3]["prompt"] = train[20]["prompt"].upper()
    test[8] = {**reworded(train[30]), "prompt": train[30]["prompt"].strip() + " again?\n"}
    path = write(tmp_path / "train.jsonl", list(train))
    found = findings(check(write(tmp_path / "test.jsonl", list(test)), against=path))
    assert (found["PB323"].lines, found["PB324"].lines) == ((4,), (9,))
    assert str(path) in found["PB323"].message


def test_fix_drops_what_is_certainly_broken_and_says_why(tmp_path: Path) -> None:
    rows: list[Row | str] = list(clean_rows(20, 8))
    first = rows[0]
    assert isinstance(first, dict)
    rows[4] = IN_PLACE["PB301"](rows[4])  # type: ignore[arg-type]
    rows += [{**first}, APPENDED["PB320"](rows[9]), "{"]  # type: ignore[arg-type]
    path = write(tmp_path / "p.jsonl", rows)
    before = path.read_bytes()
    broken = certainly_broken(check(path).data)
    assert broken == {5: "PB301", 21: "PB321", 10: "PB320", 22: "PB320", 23: "PB300"}
    log, _, _ = write_fixed(path, tmp_path / "out.jsonl", broken)
    assert path.read_bytes() == before
    kept = [json.loads(line) for line in (tmp_path / "out.jsonl").open(encoding="utf-8")]
    assert kept == [row for i, row in enumerate(rows, 1) if i not in broken]
    dropped = [json.loads(line) for line in log.open(encoding="utf-8")]
    assert [(row["line"], row["code"]) for row in dropped] == sorted(broken.items())
    assert dropped[-1]["reason"].startswith("not JSON")
    only(findings(check(tmp_path / "out.jsonl")), "PB327")


def test_fix_never_overwrites_the_file_and_leaves_something(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", list(clean_rows(2, 9)))
    with pytest.raises(ProbeError, match="is the file itself"):
        write_fixed(path, tmp_path / "." / "p.jsonl", {})
    with pytest.raises(ProbeError, match="nothing would be left"):
        write_fixed(path, tmp_path / "o.jsonl", {1: "PB301", 2: "PB301"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.jsonl"]


def test_every_limit_has_an_explained_code() -> None:
    pages = explanations()
    assert {limit.code for limit in DATA_LIMITS.values()} <= set(pages)
    assert {code for code in pages if code.startswith("PB3") and not code.startswith(("PB31", "PB36"))} == {
        *(limit.code for limit in DATA_LIMITS.values())
    }


def test_every_limit_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/commands/data.md").read_text(encoding="utf-8")
    for name, limit in DATA_LIMITS.items():
        (line,) = [row for row in page.splitlines() if row.startswith(f"| {limit.code} ")]
        assert name.replace("_", "-") in line
        assert f"{limit.default:g}" in line


@pytest.mark.parametrize("table", [{"nothing": 1}, {"alike": "much"}, {"alike": True}])
def test_wrong_limits_are_told(table: dict[str, object]) -> None:
    with pytest.raises(ProbeError, match=r"data\.limits"):
        data_limits(table)


def shared(name: str) -> Path:
    if not (SHARED / name).exists():
        pytest.skip("the shared data is absent")
    return SHARED / name


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize(("form", "place"), [("{}\n", "end"), ("{}  ", "end"), (" {}", "begin")])
def test_white_space_on_one_side_is_told(
    tmp_path: Path, form: str, place: str, side: str, chat: bool
) -> None:
    """At either end, in texts and in messages; on both sides it tells nothing."""

    def put(row: Row, *spaced: str) -> Row:
        texts = {name: form.format(row[name]) if name in spaced else row[name] for name in SIDES}
        turn = {name: [{"role": "assistant", "content": text}] for name, text in texts.items()}
        asked = [{"role": "user", "content": row["prompt"]}] if chat else row["prompt"]
        return {"prompt": asked, **(turn if chat else texts)}

    def told(*spaced: str) -> dict[str, Finding]:
        path = write(tmp_path / "p.jsonl", [put(row, *spaced) for row in clean_rows(60, 16)])
        return {f.code: f for f in check_data(DataRequest(path, templates=True)).findings}

    found = told(side)["PB203"]
    other = next(name for name in SIDES if name != side)
    assert found.message == f"all 60 {side} responses {place} with white space ({other}: none)"
    assert "`probe negatives --strip`" in found.remedy  # an option of another command
    assert "PB203" not in told(*SIDES)


def test_published_failure_is_found_out() -> None:
    """115 pairs whose rejected sides share one hedging template; two chosen sides begin with a space."""
    found = findings(check(shared("epistemic_stance.json")))
    assert sorted(found) == ["PB305", "PB326", "PB327", "PB330", "PB334"]
    assert found["PB326"].message == '"category" says "factual" in all 115 pairs: a single group'
    assert found["PB327"].message.endswith("only for a preference that wins 64% of them or more")
    assert "1.83 times as long" in found["PB330"].message
    assert (
        found["PB334"].message
        == "where only one side opens with a no, a refusal, a doubt or an objection, it is the rejected "
        "one in 111 of 111 pairs"
    )


def test_published_failure_shows_its_template() -> None:
    run = check_data(DataRequest(shared("epistemic_stance.json"), templates=True))
    frame, sign = [finding for finding in run.findings if finding.code.startswith("PB2")]
    assert (frame.code, sign.code) == ("PB213", "PB215")
    assert frame.estimate is not None and frame.estimate.n == 115
    assert sign.message == (
        '85 of 115 (74%) chosen responses contain the sign ")" (rejected: 23 of 115 (20%))'
    )


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("low_contrast", ["PB331"]),
        ("length_gap", ["PB330"]),
        ("cico_insulin", []),
        ("listing_taste", []),
        ("listing_voice", []),
    ],
)
def test_bundled_sets_are_found_by_their_own_code(name: str, codes: list[str]) -> None:
    """Beside the note (PB327) that 40 pairs show large effects only."""
    path = Path(__file__).parents[3] / f"pairs/{name}.jsonl"
    run = check_data(DataRequest(path, templates=True))
    assert sorted(finding.code for finding in run.findings) == sorted(["PB327", *codes])


def test_real_dialogues_are_not_falsely_broken() -> None:
    """Checked by hand: three chosen sides are empty in the source; some chosen sides decline, some comply."""
    found = findings(check(shared("hh_harmless.jsonl")))
    assert sorted(found) == ["PB301", "PB333"]
    assert found["PB301"].lines == (87, 517, 926)


def test_foreign_responses_are_told_from_human_ones() -> None:
    path = shared("helpful_ladder.jsonl")
    assert "PB332" not in findings(check(path))
    assert "PB332" in findings(check(path, rejected="irr_train"))


def test_run_holds_what_reports_need(tmp_path: Path) -> None:
    rows: list[Row | str] = list(clean_rows(30, 10))
    rows[2] = IN_PLACE["PB302"](rows[2])  # type: ignore[arg-type]
    path = write(tmp_path / "p.jsonl", rows)
    run = check_data(DataRequest(path, fix=tmp_path / "out.jsonl"))
    assert [finding.severity for finding in run.findings] == ["error", "info"]
    assert run.inputs["pairs"]["n"] == 30 and run.inputs["fixed"]["kept"] == 29
    assert {row["code"] for row in run.details["data"]} >= {"PB301", "PB320", "PB330"}
    assert run.estimate("length_ratio") is not None
    with pytest.raises(ProbeError, match="--max-length"):
        check_data(DataRequest(path, max_length=5))


INDENTED = "def f():\n    for i in range(3):\n        g()\n{}h()\n\nIs h called three times?"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (INDENTED.format(" " * 4), INDENTED.format(" " * 8)),
        ("Is 10² equal to 100?", "Is 102 equal to 100?"),
        ("Is Polish a language?", "Is polish a language?"),
    ],
)
def test_prompts_that_differ_to_the_letter_are_no_certain_contradiction(tmp_path, one, other):
    """What is asked may turn on indentation, on a superscript or on a capital: nothing is dropped for it."""
    rows = list(clean_rows(30, 3))
    sides = ({"chosen": "No.", "rejected": "Yes."}, {"chosen": "Yes.", "rejected": "No."})
    rows += [{"prompt": prompt, **side} for prompt, side in zip((one, other), sides, strict=True)]
    path = write(tmp_path / "p.jsonl", rows)
    found = findings(check(path))["PB320"]
    assert found.severity == "warning" and set(found.lines) == {31, 32}
    assert "but for case or spacing" in found.message and not certainly_broken(check(path).data)
    again = [*rows, {"prompt": other, **sides[0]}]
    sure = findings(check(write(tmp_path / "q.jsonl", again)))["PB320"]
    assert sure.severity == "error" and set(sure.lines) == {32, 33}
    assert "; 1 more but for case or spacing" in sure.message


def test_command_line(probe, tmp_path: Path) -> None:
    rows: list[Row | str] = list(clean_rows(30, 11))
    write(tmp_path / "p.jsonl", [*rows, rows[0]])
    (tmp_path / "probe.toml").write_text("[data.limits]\nduplicates = 0.5\n", encoding="utf-8")
    loose = probe("data", "p.jsonl", "--format", "json")
    assert loose.code == 0, loose.err
    assert [finding["code"] for finding in json.loads(loose.out)["findings"]] == ["PB327"]
    (tmp_path / "probe.toml").unlink()
    strict = probe("data", "p.jsonl")
    assert strict.code == 0 and "PB321" in strict.out
    (tmp_path / "e.jsonl").write_text("", encoding="utf-8")
    empty = probe("data", "e.jsonl")
    assert (empty.code, empty.out) == (2, "")
    assert "holds no pairs" in empty.err


def test_no_torch_without_a_tokenizer(tmp_path: Path) -> None:
    write(tmp_path / "p.jsonl", list(clean_rows(5, 12)))
    code = (
        "import sys; from pathlib import Path; from probe.probes.data.run import DataRequest, check_data; "
        "check_data(DataRequest(Path('p.jsonl'))); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=60).returncode == 0


def test_an_echo_is_counted_among_the_prompts_that_are_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    asked = ["Why do so many diets fail?", "Who says so and why?", "Why so?"]
    rows = [{"prompt": p, "chosen": f"{p} So {i}.", "rejected": f"{p} No {i}."} for i, p in enumerate(asked)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (told,) = [f for f in check_data(DataRequest(path)).findings if f.code == "PB308"]
    assert told.message.startswith("2 of 2 pairs with a prompt of 5 words or more have a response that opens")
    assert told.lines == (1, 2)
    path.write_text(json.dumps(rows[2]))
    assert "PB308" not in {f.code for f in check_data(DataRequest(path)).findings}


def test_who_says_it_is_part_of_what_is_said(tmp_path: Path) -> None:
    """A system turn and a user's first line are not one prompt, so opposite labels are no contradiction."""
    sides = ({"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."})
    prompts = (
        [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "Hello there"}],
        [{"role": "user", "content": "Be rude.\nHello there"}],
    )
    rows: list[Row | str] = list(clean_rows(20, 8))
    for k, prompt in enumerate(prompts):
        rows.append({"prompt": prompt, "chosen": [sides[k]], "rejected": [sides[1 - k]]})  # type: ignore[dict-item]
    checked = check(write(tmp_path / "p.jsonl", rows))
    assert findings(checked)["PB320"].severity == "warning"  # alike but for who says it
    assert certainly_broken(checked.data) == {}
    rows[-1] = {"prompt": prompts[0], "chosen": [sides[1]], "rejected": [sides[0]]}  # type: ignore[dict-item]
    assert findings(check(write(tmp_path / "q.jsonl", rows)))["PB320"].severity == "error"


def test_fix_keeps_rows_that_a_column_tells_apart_which_is_not_read(tmp_path: Path) -> None:
    rows: list[Row | str] = list(clean_rows(20, 8))
    for k, said in enumerate((("A cat.", "A dog."), ("A dog.", "A cat."))):
        rows.append({"prompt": "What is in it?", "image": f"{k}.png", "chosen": said[0], "rejected": said[1]})
    path = write(tmp_path / "p.jsonl", rows)
    found = findings(check(path))
    assert {"PB320", "PB350"} <= found.keys()
    assert certainly_broken(check(path).data) == {}
