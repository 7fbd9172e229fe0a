"""Templates as text: what they may contain, and how one is filled in within limits.

A template may name variables, branch on them, loop over a list and use a few filters. It cannot
call, import, include, assign, calculate or reach into an object, so its output grows with its
values only. What passes that check runs in Jinja's sandbox all the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgekd.errors import DataError, closest

if TYPE_CHECKING:
    from jinja2.runtime import Context

MAX_TEXT = 20_000  # characters of a template
MAX_ROUNDS = 10_000  # of all loops of a template together
MAX_OUTPUT = 4_000  # characters, where a template names no limit of its own
_ROUNDS = "_rounds"
_OF_LOOPS = ("first", "index", "index0", "last", "length")
_TAKEN_OVER = ("capitalize", "first", "last", "length", "lower", "title", "trim", "upper")
_TESTS = ("eq", "equalto", "even", "in", "ne", "odd")
_ALLOWED = (
    nodes.And, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.Filter, nodes.For,
    nodes.If, nodes.Keyword, nodes.Name, nodes.Not, nodes.Operand, nodes.Or, nodes.Output,
    nodes.Template, nodes.TemplateData, nodes.Test,
)  # fmt: skip
_SPOKEN = {
    "Assign": "set", "AssignBlock": "set", "CallBlock": "a call", "FromImport": "import",
    "Getattr": "attribute access", "Getitem": "item access",
}  # fmt: skip
# Two words joined: (", ", " and "); "or" where a template asks for it.
_JOINTS: dict[str, tuple[str, str, str]] = {
    "en": (", ", " and ", " or "),
    "de": (", ", " und ", " oder "),
    "zh": ("、", "和", "或"),
}


@dataclass(frozen=True)
class Fault:
    """What is wrong in a template; `line` counts from 1 within its text."""

    line: int
    message: str


def faults(text: str, known: Collection[str]) -> list[Fault]:
    """Returns everything wrong with a template whose variables are `known`, by line."""
    if len(text) > MAX_TEXT:
        return [Fault(1, f"{len(text):,} characters, expected {MAX_TEXT:,} at most")]
    try:
        tree = _environment("en").parse(text)
        refused = list(_refused(tree))
        found = [*refused, *_unknown(tree, _undeclared(tree, bool(refused)) - set(known), known)]
        if not found:
            _compiled(text, "en")
    except jinja2.TemplateSyntaxError as error:
        return [
            Fault(error.lineno, f"no template: {_lower_first(error.message or 'syntax error')}")
        ]
    except (RecursionError, SyntaxError, MemoryError):
        return [Fault(1, "nested too deeply. Take some of the branches out")]
    return sorted(found, key=lambda fault: fault.line)


@lru_cache(maxsize=4096)
def variables(text: str) -> frozenset[str]:
    """Returns the names a template takes its values from."""
    return frozenset(meta.find_undeclared_variables(_environment("en").parse(text)))


def render(
    text: str,
    language: str,
    values: Mapping[str, Any],
    max_characters: int = MAX_OUTPUT,
    name: str = "template",
) -> str:
    """Returns the template with the values filled in; in English "a" is "an" before a vowel letter.

    Compiled once for each text and language.

    Raises:
        DataError: a value is missing, the text gets too long, the loops take too many rounds, or
            the template does what the sandbox forbids.
    """
    parts, length = [], 0
    try:
        for part in _compiled(text, language).generate({**values, _ROUNDS: itertools.count(1)}):
            parts.append(part)
            length += len(part)
            if length > max_characters:
                raise DataError(
                    f"template '{name}': more than {max_characters:,} characters come out, which "
                    "is its limit. Give it fewer or shorter values, or raise its max_characters"
                )
    except jinja2.UndefinedError as error:
        raise DataError(f"template '{name}': {error.message}. Give it a value") from error
    except jinja2.TemplateError as error:
        raise DataError(f"template '{name}': {error.message}. Take that out") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"template '{name}': {error}. Are its values what it expects?") from error
    filled = "".join(parts)
    return _fix_articles(filled) if language == "en" else filled


def filters() -> list[str]:
    """Returns the names of the filters a template may use."""
    return sorted(_filters("en"))


def _refused(tree: nodes.Template) -> Iterator[Fault]:
    """Whatever is no part of a template that can only grow with its values."""
    for node in _inside(tree):
        if isinstance(node, nodes.Getattr) and _of_loop(node):
            continue
        if not isinstance(node, _ALLOWED):
            yield Fault(node.lineno, f"{_what(node)} is not allowed. {_allowed()}")
        elif isinstance(node, nodes.Filter) and node.name not in _filters("en"):
            yield _unknown_name("filter", node, _filters("en"))
        elif isinstance(node, nodes.Test) and node.name not in _TESTS:
            yield _unknown_name("test", node, _TESTS)
        elif isinstance(node, nodes.For) and not isinstance(node.iter, nodes.Name):
            yield Fault(node.lineno, "a loop runs over a variable only, as in {% for a in list %}")


def _undeclared(tree: nodes.Template, is_refused: bool) -> set[str]:
    """Names that the template takes from outside.

    Jinja's own look generates code, which already works out 'x' * 1000000000; so what is refused
    is only read, and there a name is known everywhere that any loop gives it.
    """
    if not is_refused:
        return meta.find_undeclared_variables(tree)
    names = list(tree.find_all(nodes.Name))
    given = {name.name for name in names if name.ctx != "load"} | {"loop"}
    return {name.name for name in names if name.ctx == "load"} - given


def _unknown(
    tree: nodes.Template, missing: Collection[str], known: Collection[str]
) -> Iterator[Fault]:
    seen: set[str] = set()
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name in set(missing) - seen:
            seen.add(node.name)
            yield _unknown_name("variable", node, known)


def _unknown_name(
    kind: str, node: nodes.Name | nodes.Filter | nodes.Test, known: Collection[str]
) -> Fault:
    there = ", ".join(sorted(known)) or "none"
    return Fault(
        node.lineno,
        f"unknown {kind} '{node.name}'. There are: {there}.{closest(node.name, known)}",
    )


def _inside(tree: nodes.Node) -> Iterator[nodes.Node]:
    yield tree
    for child in tree.iter_child_nodes():
        yield from _inside(child)


def _of_loop(node: nodes.Getattr) -> bool:
    return isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in _OF_LOOPS


def _what(node: nodes.Node) -> str:
    kind = type(node).__name__
    if isinstance(node, nodes.Getattr):
        return f"attribute access ('.{node.attr}')"
    if isinstance(node, nodes.Call):
        name = getattr(node.node, "name", getattr(node.node, "attr", ""))
        return f"a call ('{name}(...)')"
    return f"'{_SPOKEN.get(kind, kind.lower())}'"


def _allowed() -> str:
    return f"Allowed are variables, if, for over a list, and the filters {', '.join(filters())}"


@lru_cache(maxsize=4096)
def _compiled(text: str, language: str) -> jinja2.Template:
    environment = _environment(language)
    tree = environment.parse(text)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
    tree.set_environment(environment)
    return environment.from_string(tree)


@cache
def _environment(language: str) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.globals.clear()  # range, dict, cycler and the like
    environment.filters = {**_filters(language), "counted": _counted}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


@cache
def _filters(language: str) -> dict[str, Callable[..., Any]]:
    taken_over = {name: FILTERS[name] for name in _TAKEN_OVER}
    return {**taken_over, "join": _join, "listed": _listed(language)}


@jinja2.pass_context
def _counted(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    """The values one by one, as long as the template's loops have rounds left."""
    rounds = context[_ROUNDS]
    for value in values:
        if next(rounds) > MAX_ROUNDS:
            raise jinja2.TemplateRuntimeError(f"its loops take more than {MAX_ROUNDS:,} rounds")
        yield value


def _join(values: Iterable[str], separator: str = "") -> str:
    return str(separator).join(map(str, values))


def _listed(language: str) -> Callable[..., str]:
    """A filter: "colour, size and shape" of three words, "or" where that is asked for."""
    comma, conjunction, alternative = _JOINTS.get(language, _JOINTS["en"])

    def listed(values: Iterable[str], word: str = "and") -> str:
        *rest, last = [str(value) for value in values] or [""]
        joint = alternative if word == "or" else conjunction
        return f"{comma.join(rest)}{joint}{last}" if rest else last

    return listed


def _fix_articles(text: str) -> str:
    words = text.split(" ")
    for index, word in enumerate(words[:-1]):
        if word in ("a", "A") and words[index + 1][:1].lower() in "aeiou":
            words[index] = word + "n"
    return " ".join(words)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
