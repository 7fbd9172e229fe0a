"""Task definitions: what goes in, what comes out, and the templates that say it, by language.

`captioning.templates.files` reads them from YAML and checks them as a whole, so nothing faulty is ever
rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from captioning.attributes import ATTRIBUTES
from captioning.templates import sandbox
from edgekd.errors import ConfigError, UsageError, closest
from edgekd.records import TaskSpec

Task = Literal["classification", "generation", "retrieval"]
Role = Literal["prompt", "sentence", "class_text", "query"]
ROLES: dict[Role, str] = {
    "prompt": "what a teacher is asked",
    "sentence": "what a teacher says",
    "class_text": "what an image or a caption is compared with",
    "query": "what somebody types to find an image",
}
READ_BY_ENCODER = ("en",)
"""Languages whose sentences the embedded text encoder can embed."""

# What every task fills in; beside these, each attribute by its name.
_ALWAYS = ("object", "attributes", "classes", "description")
_PROVIDED: dict[str, tuple[str, ...]] = {
    "classification": (*_ALWAYS, "second"),
    "generation": _ALWAYS,
    "retrieval": (*_ALWAYS, "caption"),
}


@dataclass(frozen=True)
class Variable:
    """What a template is filled with. One with a `default` need not be given."""

    kind: Literal["text", "list"]
    meaning: str
    example: str | tuple[str, ...]
    default: str | tuple[str, ...] | None = None


@dataclass(frozen=True)
class Template:
    """One text to fill in.

    `translation` is the id of the template that says the same in a language the embedded text
    encoder reads: sentences are matched by that one. `words` are what attributes and their words
    are called in the template's language, as "黑色" of "black".
    """

    name: str
    text: str
    language: str = "en"
    role: Role = "sentence"
    translation: str | None = None
    max_characters: int = sandbox.MAX_OUTPUT
    words: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Its name, behind its language where that is not English: "plain", "zh.plain"."""
        return self.name if self.language == "en" else f"{self.language}.{self.name}"


@dataclass(frozen=True)
class TaskDefinition:
    """Input and output of a task and its templates; `input` and `output` map a language to a text."""

    name: str
    task: Task
    about: str
    source: str
    variables: dict[str, Variable]
    input: dict[str, str]
    output: dict[str, str]
    words: dict[str, dict[str, str]]
    templates: tuple[Template, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.input)

    def template(self, template_id: str) -> Template:
        """Returns the template of an id ("photo", "zh.photo").

        Raises:
            UsageError: there is none; names the closest.
        """
        known = {template.id: template for template in self.templates}
        if template_id not in known:
            raise UsageError(
                f"{self.name}: no template '{template_id}'.{closest(template_id, known)} "
                f"See: edgekd prompts show {self.name}"
            )
        return known[template_id]

    def of(self, role: Role, language: str = "en") -> tuple[Template, ...]:
        """Returns the templates of a role in a language, in the order of the file."""
        return tuple(t for t in self.templates if t.role == role and t.language == language)


def check_task(definition: TaskDefinition, task: TaskSpec, own: Iterable[str] = ()) -> None:
    """Checks that a task can fill in every variable; `own` are those the caller fills in itself.

    Raises:
        ConfigError: another kind of task, or variables that nothing fills in.
    """
    provided = {*_PROVIDED[task.task], *ATTRIBUTES, *own}
    found = []
    if definition.task != task.task:
        found.append(f"made for {definition.task}, and task '{task.name}' is {task.task}")
    for name, variable in definition.variables.items():
        if variable.default is None and name not in provided:
            users = sorted(t.id for t in definition.templates if name in sandbox.variables(t.text))
            found.append(
                f"variable '{name}' ({', '.join(users) or 'in no template'}): nothing fills it in. "
                f"A {task.task} task gives {', '.join(sorted(provided))}."
                f"{closest(name, provided)} Or give it a default"
            )
    if found:
        raise ConfigError(found, definition.name)
