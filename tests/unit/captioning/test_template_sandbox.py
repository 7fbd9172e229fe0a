"""What a template may contain, what comes out of it, and what is refused before anything is rendered."""

from __future__ import annotations

import time
from typing import Any

import pytest

from captioning.templates import sandbox
from captioning.templates.sandbox import faults, render, variables
from edgekd.errors import DataError

KNOWN = ("object", "attributes", "classes")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("a {{ object }}", "en", "an owl"),
        ("ein {{ object }}", "de", "ein owl"),
        ("{{ attributes | listed }}", "en", "colour, size and shape"),
        ("{{ attributes | listed('or') }}", "en", "colour, size or shape"),
        ("{{ attributes | listed }}", "zh", "colour、size和shape"),
        ("{{ attributes | listed('or') }}", "de", "colour, size oder shape"),
        ("{{ attributes | join(', ') | upper }}", "en", "COLOUR, SIZE, SHAPE"),
        ("{{ attributes | first }} {{ attributes | length }}", "en", "colour 3"),
        ("{% for a in attributes %}{{ loop.index }}{{ a }}{% endfor %}", "en", "1colour2size3shape"),
        ("{% for a in attributes if a != 'size' %}{{ a }} {% endfor %}", "en", "colour shape "),
        ("{% for a in attributes %}{{ a }}{% if not loop.last %}/{% endif %}{% endfor %}", "en",
         "colour/size/shape"),
        ("{{ 'an' ~ object if object == 'owl' else 'no' }}", "en", "anowl"),
        ("{% if 'size' in attributes %}sized{% else %}not{% endif %}", "en", "sized"),
        ("{object} [object] 100%", "en", "{object} [object] 100%"),
        ("<b>{{ object }}</b>", "en", "<b>owl</b>"),
    ],
)  # fmt: skip
def test_what_comes_out(text: str, language: str, expected: str) -> None:
    values = {"object": "owl", "attributes": ("colour", "size", "shape")}
    assert faults(text, KNOWN) == []
    assert render(text, language, values) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), ""), (("red",), "red"), (("red", "small"), "red and small")],
)
def test_short_lists(words: tuple[str, ...], expected: str) -> None:
    assert render("{{ attributes | listed }}", "en", {"attributes": words}) == expected


def test_an_unknown_variable_is_named_with_its_line_and_the_closest() -> None:
    (fault,) = faults("a photo\nof a {{ objct }}\nor {{ objct }}", KNOWN)
    assert fault.line == 2
    assert fault.message == (
        "unknown variable 'objct'. There are: attributes, classes, object. Closest: 'object'."
    )


def test_a_loop_variable_is_known_inside_its_loop_only() -> None:
    text = "{% for a in attributes %}{{ a }}{% endfor %}\n{{ a }}"
    assert [(f.line, f.message.split(".")[0]) for f in faults(text, KNOWN)] in (
        [(2, "unknown variable 'a'")],
        [(1, "unknown variable 'a'")],
    )
    assert [f.message.split(".")[0] for f in faults("{{ loop.index }}", KNOWN)] == [
        "unknown variable 'loop'"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ object.__class__ }}", "attribute access ('.__class__') is not allowed"),
        ("{{ object.upper }}", "attribute access ('.upper') is not allowed"),
        ("{{ object['__class__'] }}", "'item access' is not allowed"),
        ("{{ ''.__class__.__mro__ }}", "attribute access ('.__mro__') is not allowed"),
        ("{{ loop.__class__ }}", "attribute access ('.__class__') is not allowed"),
        ("{% for a in attributes %}{{ loop.cycle('x') }}{% endfor %}", "a call ('cycle(...)')"),
        ("{{ range(1000000000) }}", "a call ('range(...)') is not allowed"),
        ("{% for i in range(1000000000) %}x{% endfor %}", "a call ('range(...)') is not allowed"),
        ("{{ object.format(object) }}", "a call ('format(...)') is not allowed"),
        ("{% import 'os' as os %}", "'import' is not allowed"),
        ("{% from 'os' import path %}", "'import' is not allowed"),
        ("{% include '/etc/passwd' %}", "'include' is not allowed"),
        ("{% extends 'base' %}", "'extends' is not allowed"),
        ("{% set x = object ~ object %}", "'set' is not allowed"),
        ("{% set x %}{{ object }}{% endset %}", "'set' is not allowed"),
        ("{% macro m() %}{% endmacro %}", "'macro' is not allowed"),
        ("{% block b %}{% endblock %}", "'block' is not allowed"),
        ("{{ 'x' * 1000000000 }}", "'mul' is not allowed"),
        ("{{ 9 ** 999999999 }}", "'pow' is not allowed"),
        ("{{ '%1000000000d' % 1 }}", "'mod' is not allowed"),
        ("{{ [object, object] | join }}", "'list' is not allowed"),
        ("{% for a in attributes | first %}{{ a }}{% endfor %}", "a loop runs over a variable only"),
        ("{{ object | center(1000000000) }}", "unknown filter 'center'"),
        ("{{ object | uper }}", "Closest: 'upper'."),
        ("{{ object | counted }}", "unknown filter 'counted'"),
        ("{{ object | attr('__class__') }}", "unknown filter 'attr'"),
        ("{{ object is callable }}", "unknown test 'callable'"),
        ("{{ object", "no template: "),
        ("{% if object %}", "no template: "),
        ("x" * 20_001, "20,001 characters, expected 20,000 at most"),
        ("{{ " + "(" * 3000 + "object" + ")" * 3000 + " }}", "nested too deeply"),
        ("{% if object %}" * 300 + "{% endif %}" * 300, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, says: str) -> None:
    started = time.monotonic()
    messages = [fault.message for fault in faults(text, KNOWN)]
    assert any(says in message for message in messages), messages
    assert time.monotonic() - started < 5


def test_every_fault_of_a_template_is_listed_by_line() -> None:
    found = faults("{{ objct }}\n{{ object.x }}\n{{ object | uper }}", KNOWN)
    assert [fault.line for fault in found] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "{{ object.__class__.__mro__ }}",
        "{{ object.__init__.__globals__ }}",
        "{{ ''.__class__ }}",
        "{% import 'os' as os %}",
        "{{ range(5) }}",
        "{{ lipsum() }}",
        "{{ undefined_name }}",
    ],
)
def test_the_sandbox_refuses_what_was_never_checked(text: str) -> None:
    """The second line: what gets past `faults`, or around it, still cannot do anything."""
    with pytest.raises((DataError, TypeError)):
        render(text, "en", {"object": "owl"})


def test_the_output_has_a_limit() -> None:
    values = {"attributes": ("x" * 10,) * 100}
    text = "{% for a in attributes %}{{ a }}{% endfor %}"
    assert len(render(text, "en", values, max_characters=1000)) == 1000
    with pytest.raises(DataError, match=r"template 'long': more than 999 characters come out"):
        render(text, "en", values, max_characters=999, name="long")


def test_loops_have_a_limit_even_where_they_say_nothing() -> None:
    loop, end = "{% for a in attributes %}", "{% endfor %}"
    values = {"attributes": ("x",) * 99}  # 99 + 99 * 99 = 9,900 rounds, below 10,000
    assert render(loop * 2 + end * 2, "en", values) == ""
    started = time.monotonic()
    with pytest.raises(DataError, match="its loops take more than 10,000 rounds"):
        render(loop * 8 + end * 8, "en", values)  # 99 ** 8
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("text", "values", "says"),
    [
        ("{{ object }}", {}, "'object' is undefined. Give it a value"),
        ("{{ attributes | first }}", {"attributes": ()}, "No first item, sequence was empty"),
        ("{{ object | listed }}", {"object": 3}, "'int' object is not iterable"),
    ],
)
def test_values_that_do_not_fit(text: str, values: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        render(text, "en", values, name="mine")
    assert says in str(caught.value)
    assert str(caught.value).startswith("template 'mine': ")


def test_a_value_is_never_a_template() -> None:
    assert render("a {{ object }}", "en", {"object": "{{ 1 }}"}) == "a {{ 1 }}"


def test_variables_of_a_text() -> None:
    text = "{% for a in attributes %}{{ a }}{{ object }}{% endfor %}"
    assert variables(text) == {"attributes", "object"}


def test_a_template_is_compiled_once() -> None:
    sandbox._compiled.cache_clear()
    for _ in range(5):
        render("{{ object }} again", "en", {"object": "owl"})
    assert sandbox._compiled.cache_info().misses == 1
