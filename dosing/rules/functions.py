"""Which function of the engine raises which finding, read from the engine's own source.

Nothing is run and nothing is declared by hand: the code of each call of `advice.raised` is followed
to the words it can be, through names, choices, tables of words and the callers of the function.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dosing.rules.engine import assess
from dosing.rules.engine.rulebook import RuleBook

ENGINE = Path(assess.__file__).parent
# What a code may be where the source does not say it; matches nothing, so that nobody is misled.
UNKNOWN = "\0"
# The same for a part of an f-string: the rest of it still has to match.
SOME_PART = "\2"
# `row.finding`: the code stands in that column of a table. What of the index holds which table, and
# the column by which it is looked up there.
FINDING_OF_ROW = "\1"
INDEXED = {
    "baseline": ("baseline_items", "finding"),
    "schedules": ("schedules", "finding"),
    "thresholds": ("thresholds", "quantity"),
    "contraindications": ("contraindications", "name"),
}
_AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A table in which a function looks for rows: all of them, or those with a key in `column`."""

    table: str
    column: str
    keys: frozenset[str] = frozenset()

    def finding(self, code: str, book: RuleBook) -> bool:
        """Whether a row found there names the finding `code`."""
        return any(
            getattr(row, "finding", "") == code
            and (not self.keys or getattr(row, self.column) in self.keys)
            for row in book.tables()[self.table]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of the engine that raises findings.

    `codes` is what it raises, `looked` the tables whose `finding` column names a code for it,
    `topics` the questions of `assess.TOPICS` that reach it.
    """

    name: str
    summary: str
    topics: tuple[str, ...]
    codes: frozenset[str]
    looked: tuple[Looked, ...]

    def raises(self, code: str, book: RuleBook) -> bool:
        """Whether the finding `code` of this book is one of its."""
        if code in self.codes or any(
            re.fullmatch("[A-Z0-9-]+".join(map(re.escape, each.split(SOME_PART))), code)
            for each in self.codes
            if SOME_PART in each
        ):
            return True
        return any(each.finding(code, book) for each in self.looked)

    @property
    def resolved(self) -> bool:
        """Whether the source says of each of its findings which one it is."""
        return not any(UNKNOWN in each for each in self.codes)


@cache
def functions() -> tuple[Function, ...]:
    """Every function that raises findings, by name; read once a process."""
    return read({path.stem: path.read_text(encoding="utf-8") for path in ENGINE.glob("*.py")})


def raised_by(code: str, book: RuleBook) -> tuple[Function, ...]:
    """The functions, reached by `assess`, that raise the finding `code`."""
    return tuple(each for each in functions() if each.topics and each.raises(code, book))


def read(sources: dict[str, str]) -> tuple[Function, ...]:
    """The functions that raise findings in these modules of an engine: name to source."""
    return tuple(sorted(_Engine(sources).functions(), key=lambda each: each.name))


class _Module:
    """One parsed module: its functions, its constants, and what its names mean elsewhere."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        tree = ast.parse(source)
        self.functions: dict[str, _AnyFunction] = {}
        self.constants: dict[str, ast.expr] = {}
        self.imported: dict[str, str] = {}
        for node in tree.body:
            if isinstance(node, _AnyFunction):
                self.functions[node.name] = node
            elif isinstance(node, ast.Assign):
                for inner in ast.walk(node.targets[0]):
                    if isinstance(inner, ast.Name) and (
                        part := _part(inner.id, node.targets[0], node.value)
                    ):
                        self.constants[inner.id] = part
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if node.value is not None:
                    self.constants[node.target.id] = node.value
            elif isinstance(node, ast.ImportFrom) and node.module:
                _, inside, module = node.module.rpartition("dosing.rules.engine")
                if inside:
                    for alias in node.names:
                        origin = f"{module.removeprefix('.')}.{alias.name}".removeprefix(".")
                        self.imported[alias.asname or alias.name] = origin

    def meaning(self, node: ast.expr) -> str:
        """`advice.raised` for a name or attribute that means it here; else empty."""
        if isinstance(node, ast.Name):
            if node.id in self.functions or node.id in self.constants:
                return f"{self.name}.{node.id}"
            return self.imported.get(node.id, "")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self.imported.get(node.value.id, "")
            return f"{module}.{node.attr}" if module else ""
        return ""


class _Engine:
    """All modules together: who calls whom, and what an expression can be."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.modules = {name: _Module(name, source) for name, source in sources.items()}
        self.defined = {
            f"{module.name}.{name}": (module, node)
            for module in self.modules.values()
            for name, node in module.functions.items()
        }
        self.calls: dict[str, list[tuple[str, ast.Call]]] = {}
        self.uses: dict[str, set[str]] = {}
        for owner, (module, node) in self.defined.items():
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call):
                    self.calls.setdefault(module.meaning(inner.func), []).append((owner, inner))
                if isinstance(inner, ast.Name | ast.Attribute) and (meant := module.meaning(inner)):
                    self.uses.setdefault(owner, set()).add(meant)

    def functions(self) -> Iterator[Function]:
        raised: dict[str, set[str]] = {}
        for owner, call in self.calls.get("advice.raised", ()):
            for decider, code in self._deciders(owner, _argument(call, "code", 1), ()):
                words = {UNKNOWN} if code is None else self.words(code, decider, ())
                raised.setdefault(decider, set()).update(words)
        reached = {topic: self._reached(topic) for topic in self._topics()}
        for owner, codes in raised.items():
            _, node = self.defined[owner]
            summary, _, _ = (ast.get_docstring(node) or "").partition("\n")
            yield Function(
                name=owner,
                summary=summary,
                topics=tuple(topic for topic, inside in reached.items() if owner in inside),
                codes=frozenset(codes),
                looked=self._looked_up(owner) if FINDING_OF_ROW in codes else (),
            )

    def _deciders(
        self, owner: str, code: ast.expr | None, seen: tuple[str, ...]
    ) -> Iterator[tuple[str, ast.expr | None]]:
        """Who says which finding it is: a function that only hands on what it was given is passed
        over for its callers."""
        parameters = _parameters(self.defined[owner][1])
        if not (isinstance(code, ast.Name) and code.id in parameters) or owner in seen:
            yield owner, code
            return
        place = parameters.index(code.id)
        for caller, call in self.calls.get(owner, ()):
            given = _argument(call, code.id, place)
            yield from self._deciders(caller, given, (*seen, owner))

    def words(self, node: ast.expr, owner: str, seen: tuple[str, ...]) -> set[str]:
        """What an expression inside `owner` can be."""
        module, _ = self.defined[owner]
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.Constant(value=None):
                return set()
            case ast.IfExp(body=body, orelse=other):
                return self.words(body, owner, seen) | self.words(other, owner, seen)
            case ast.BoolOp(values=values):
                return {each for value in values for each in self.words(value, owner, seen)}
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined([self.words(left, owner, seen), self.words(right, owner, seen)])
            case ast.JoinedStr(values=values):
                return _joined([self.words(value, owner, seen) for value in values])
            case ast.FormattedValue(value=value):
                return {
                    SOME_PART if UNKNOWN in word or FINDING_OF_ROW in word else word
                    for word in self.words(value, owner, seen) or {UNKNOWN}
                }
            case ast.Attribute(attr="finding"):
                return {FINDING_OF_ROW}
            case ast.Subscript(value=held):
                return self._held(held, owner, seen)
            case ast.Call(func=ast.Attribute(attr="get", value=held), args=args):
                others = [self.words(each, owner, seen) for each in args[1:]]
                return self._held(held, owner, seen).union(*others)
            case ast.Call(func=func) if (name := module.meaning(func)) in self.defined:
                return self._returned(name, seen)
            case ast.Name(id=name):
                return self._named(name, owner, seen)
        return {UNKNOWN}

    def _held(self, node: ast.expr, owner: str, seen: tuple[str, ...]) -> set[str]:
        """The values of a table of words that is kept in a constant."""
        module, _ = self.defined[owner]
        origin, _, name = module.meaning(node).rpartition(".")
        kept = self.modules[origin].constants.get(name) if origin in self.modules else None
        if isinstance(kept, ast.Dict):
            found = [self.words(value, owner, seen) for value in kept.values]
            return set().union(*found)
        return {UNKNOWN}

    def _returned(self, name: str, seen: tuple[str, ...]) -> set[str]:
        if name in seen:
            return set()
        _, node = self.defined[name]
        found: set[str] = set()
        for inner in ast.walk(node):
            if isinstance(inner, ast.Return) and inner.value is not None:
                found |= self.words(inner.value, name, (*seen, name))
        return found

    def _named(self, name: str, owner: str, seen: tuple[str, ...]) -> set[str]:
        """What a name inside `owner` was given: by assignment, by a loop, by its callers."""
        mark = f"{owner}:{name}"
        if mark in seen:
            return set()
        seen = (*seen, mark)
        module, function = self.defined[owner]
        found: set[str] = set()
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=targets, value=value):
                    pairs = [(target, value) for target in targets]
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    pairs = [(target, value)]
                case ast.NamedExpr(target=target, value=value):
                    pairs = [(target, value)]
                case (
                    ast.For(target=target, iter=looped)
                    | ast.comprehension(target=target, iter=looped)
                ):
                    found |= self._looped(name, target, looped, owner, seen)
                    continue
                case _:
                    continue
            for target, value in pairs:
                if part := _part(name, target, value):
                    found |= self.words(part, owner, seen)
        parameters = _parameters(function)
        if name in parameters:
            for caller, call in self.calls.get(owner, ()):
                given = _argument(call, name, parameters.index(name))
                found |= {UNKNOWN} if given is None else self.words(given, caller, seen)
        if not found and name in module.constants:
            return self.words(module.constants[name], owner, seen)
        return found or {UNKNOWN}

    def _looped(
        self, name: str, target: ast.expr, looped: ast.expr, owner: str, seen: tuple[str, ...]
    ) -> set[str]:
        """What a loop gives a name: each of a written list, or the keys of the book's index."""
        if not any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(target)):
            return set()
        module, _ = self.defined[owner]
        if isinstance(looped, ast.Name):
            looped = module.constants.get(looped.id, looped)
        if isinstance(looped, ast.Tuple | ast.List):
            parts = [_part(name, target, each) for each in looped.elts]
            return {
                word
                for part in parts
                for word in (self.words(part, owner, seen) if part else {UNKNOWN})
            }
        match looped:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=attr))) if attr in INDEXED:
                return {FINDING_OF_ROW}
        return {UNKNOWN}

    def _looked_up(self, owner: str) -> tuple[Looked, ...]:
        """The tables that `owner` reads through the book's index, or else its callers."""
        waiting, seen = [owner], {owner}
        while waiting:
            found = {looked for name in waiting for looked in self._looked_up_in(name)}
            if found:
                return tuple(sorted(found, key=lambda each: (each.table, sorted(each.keys))))
            callers = {caller for name in waiting for caller, _ in self.calls.get(name, ())}
            waiting = sorted(callers - seen)
            seen |= callers
        return ()

    def _looked_up_in(self, owner: str) -> Iterator[Looked]:
        """`index.thresholds.get("egfr")` looks for one key, `index.thresholds` for every row."""
        keys: dict[int, ast.expr] = {}
        for node in ast.walk(self.defined[owner][1]):
            match node:
                case ast.Call(func=ast.Attribute(attr="get", value=held), args=[key, *_]):
                    keys[id(held)] = key
                case ast.Subscript(value=held, slice=key):
                    keys[id(held)] = key
        for node in ast.walk(self.defined[owner][1]):
            match node:
                case ast.Attribute(attr=attr, value=ast.Attribute(attr="index")) if attr in INDEXED:
                    table, column = INDEXED[attr]
                    asked = keys.get(id(node))
                    words = set() if asked is None else self.words(asked, owner, ())
                    told = frozenset() if UNKNOWN in words else frozenset(words)
                    yield Looked(table=table, column=column, keys=told)

    def _topics(self) -> list[str]:
        module = self.modules["assess"]
        kept = module.constants["TOPICS"]
        assert isinstance(kept, ast.Tuple)  # noqa: S101  # the visible list of assess.py
        return [module.meaning(each) for each in kept.elts]

    def _reached(self, topic: str) -> set[str]:
        waiting, seen = [topic], {topic}
        while waiting:
            new = {name for name in self.uses.get(waiting.pop(), ()) if name in self.defined} - seen
            seen |= new
            waiting += new
        return seen


def _parameters(function: _AnyFunction) -> list[str]:
    arguments = function.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return [each.arg for each in every]


def _argument(call: ast.Call, name: str, place: int) -> ast.expr | None:
    """The argument of a call that fills a parameter; None where it is left to its default."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[place] if place < len(call.args) else None


def _part(name: str, target: ast.expr, value: ast.expr) -> ast.expr | None:
    """The part of `value` that an assignment to `target` gives to `name`; None if it is another."""
    if isinstance(target, ast.Name):
        return value if target.id == name else None
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for inner, part in zip(target.elts, value.elts, strict=False):
            if found := _part(name, inner, part):
                return found
    return None


def _joined(parts: list[set[str]]) -> set[str]:
    """Every way of putting one word of each part after the other."""
    found = {""}
    for words in parts:
        found = {before + word for before in found for word in words}
    return found
