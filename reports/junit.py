"""JUnit XML: the gate's conditions as test cases, so that any CI can show them.

It keeps to what both the Ant and the Jenkins schema of that format allow.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ..escape import visible
from ..records import Condition, Run
from .advice import advised_findings
from .headline import headline
from .view import fact, fails, reproduce, result

NO_XML = re.compile("[\ufffe\uffff]")


def render(run: Run) -> str:
    """A test suite with a case a condition and one for the verdict, which fails exactly when `probe` does."""
    cases = [*[_condition(c, run) for c in run.verdict.conditions], _verdict(run)]
    suite = ET.Element("testsuite", _counts(run, cases))
    properties = ET.SubElement(suite, "properties")
    for name, value in _facts(run).items():
        ET.SubElement(properties, "property", name=name, value=_text(value))
    suite.extend(cases)
    lines = [f"{f.code} {f.severity} [{f.group}] {f.message}. {f.remedy}" for f in advised_findings(run)]
    head = headline(run)
    lines = [f"{head.status}: {head.text}", *lines]
    ET.SubElement(suite, "system-out").text = "\n".join(_text(line) for line in lines)
    ET.SubElement(suite, "system-err")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _counts(run: Run, cases: list[ET.Element]) -> dict[str, str]:
    def having(tag: str) -> str:
        return str(sum(case.find(tag) is not None for case in cases))

    return {
        "id": "0",
        "package": "probe",
        "name": f"probe {run.command}",
        "timestamp": run.created.removesuffix("Z"),
        "hostname": "localhost",
        "tests": str(len(cases)),
        "failures": having("failure"),
        "errors": "0",
        "skipped": having("skipped"),
        "time": f"{_seconds(run):.3f}",
    }


def _seconds(run: Run) -> float:
    return float(sum(row.get("seconds") or 0 for row in run.details.get("costs") or ()))


def _facts(run: Run) -> dict[str, str]:
    pairs, model = run.inputs.get("pairs") or {}, run.inputs.get("model") or {}
    facts = {
        "pairs": pairs.get("path"),
        "pairs.sha256": pairs.get("sha256"),
        "model": model.get("name"),
        "decision": run.decision.method if run.decision else None,
        "command": reproduce(run),
    }
    return {name: str(value) for name, value in facts.items() if value}


def _condition(condition: Condition, run: Run) -> ET.Element:
    case = _case(f"{condition.name} [{condition.group}]", run)
    if fails(condition, run):
        _outcome(case, "failure", fact(condition), condition.result, f"probe explain {condition.code}")
    elif condition.result != "pass":
        ET.SubElement(case, "skipped", message=_text(f"{result(condition, run)}: {fact(condition)}"))
    return case


def _verdict(run: Run) -> ET.Element:
    case = _case("verdict", run)
    if run.verdict.exit_code:
        head = headline(run)
        _outcome(case, "failure", f"{head.status}: {head.text}", head.status, reproduce(run))
    return case


def _case(name: str, run: Run) -> ET.Element:
    return ET.Element("testcase", name=_text(name), classname=f"probe.{run.command}", time="0.000")


def _outcome(case: ET.Element, tag: str, message: str, kind: str, body: str) -> None:
    ET.SubElement(case, tag, message=_text(message), type=kind).text = _text(body)


def _text(text: str) -> str:
    return NO_XML.sub("\ufffd", visible(text))
