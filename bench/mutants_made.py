"""What a mutant is: one operator, comparison, constant or truth value of one statement changed."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Mutants that change nothing which could be observed, without their line, and why; they are not tried.
EQUIVALENT = {
    ("stats/sequential.py", "signs > 0 -> signs >= 0"): "zeros are left out the line before",
    ("stats/resampling.py", "hits.mean() > 0.5 -> hits.mean() >= 0.5"): "at one half both sides have p ½",
    ("stats/resampling.py", "array > 0 -> array >= 0"): "zeros are left out above",
    ("stats/behaviour.py", "300 -> 301"): "the fit ends long before",
    ("stats/resampling.py", "sums / sizes -> sums * sizes"): "what does not vary is found by the check below",
    ("stats/label_noise.py", "0.02 -> 1.02"): "the other starts find the same",
    ("gate/schedule.py", "0.0 -> 1.0"): "without the probe that reads texts nothing takes the number",
    ("gate/predicates.py", "measured.value < limit -> measured.value <= limit"): "at its limit p is 1",
    ("gate/predicates.py", "measured.value > limit -> measured.value >= limit"): "at its limit p is 1",
    ("gate/conditions.py", "limit < value -> limit <= value"): "a limit at the value is no distance away",
}  # fmt: skip
GUARDS = {"strict", "frozen", "slots", "kw_only", "repr", "compare"}
ANNOTATIONS = {"annotation", "returns"}  # of these fields nothing is run
DRAWS = {"seed"}  # which of all draws is the default decides nothing
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Pow: ast.Mult,
    ast.USub: ast.UAdd, ast.FloorDiv: ast.Div,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A change that can be made: the lines of its statement, whether it is in a function, what that binds."""

    tree: ast.Module
    number: int  # of the node in the walk
    change: Callable[[ast.AST], None]
    lines: range
    inside: bool
    names: frozenset[str]

    def made(self) -> tuple[str, str]:
        """(the line and what was changed, the changed source)."""
        changed = copy.deepcopy(self.tree)
        node, target = (_at(tree, self.number) for tree in (self.tree, changed))
        self.change(target)
        told = f"{node.lineno}: {ast.unparse(node)[:60]} -> {ast.unparse(target)[:60]}"
        return told, ast.unparse(ast.fix_missing_locations(changed))


def _at(tree: ast.Module, number: int) -> ast.AST:
    return next(node for i, node in enumerate(ast.walk(tree)) if i == number)


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of the walk."""
    tree = ast.parse(source)
    places = _places(tree)
    return [
        Mutant(tree, number, change, *places[number])
        for number, node in enumerate(ast.walk(tree))
        if number in places
        for change in _changes(node)
    ]


def _places(tree: ast.Module) -> dict[int, tuple[range, bool, frozenset[str]]]:
    """By number in the walk: what `Mutant` says of the place of a node."""
    numbers = {id(node): i for i, node in enumerate(ast.walk(tree))}
    places = {}

    def visit(node: ast.AST, at: tuple[range, bool, frozenset[str]]) -> None:
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno
            at = (range(node.lineno, max(last, node.lineno) + 1), at[1], _bound(node))
        if isinstance(node, ast.keyword) and node.arg in GUARDS:
            return
        places[numbers[id(node)]] = at
        left_out = _drawn(node)
        for name, value in ast.iter_fields(node):
            if name in ANNOTATIONS:
                continue
            within = at[1] or (isinstance(node, ast.FunctionDef | ast.Lambda) and name == "body")
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and child not in left_out:
                    visit(child, (at[0], within, at[2]))

    visit(tree, (range(0), False, frozenset()))
    return places


def _drawn(node: ast.AST) -> list[ast.AST]:
    """The defaults among a node's children that only say which draw is made."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return [node.value] if node.target.id in DRAWS else []
    if not isinstance(node, ast.arguments):
        return []
    plain = [*node.posonlyargs, *node.args]
    given = [*zip(plain[len(plain) - len(node.defaults) :], node.defaults, strict=True)]
    given += [(a, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d is not None]
    return [default for argument, default in given if argument.arg in DRAWS]


def _bound(node: ast.stmt) -> frozenset[str]:
    """The names that a statement of a module or class gives a value."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return frozenset({node.name})
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    inner = [n for target in targets if target is not None for n in ast.walk(target)]
    return frozenset(n.id for n in inner if isinstance(n, ast.Name))


def _changes(node: ast.AST) -> Iterator[Callable]:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in SWAPS:
                yield lambda n, i=i, new=SWAPS[type(op)]: n.ops.__setitem__(i, new())
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.UnaryOp) and type(node.op) in SWAPS:
        yield lambda n, new=SWAPS[type(node.op)]: setattr(n, "op", new())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.IfExp):
        yield lambda n: n.__dict__.update(body=n.orelse, orelse=n.body)
