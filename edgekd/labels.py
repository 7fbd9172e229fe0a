"""The classes of a task, and what the labels in its data mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from edgekd import names
from edgekd.errors import DataError, closest
from edgekd.records import LABEL_SEPARATOR, NO_CLASS, Label
from edgekd.sources import Sources


class Labels:
    """Which classes there are, and which of them a label in the data means.

    Raises:
        DataError: too few classes, names that cannot be told apart, or a label that is none of them.
    """

    def __init__(
        self,
        classes: Sequence[str] | None,
        synonyms: Mapping[str, Sequence[str]],
        multilabel: bool,
        sources: Sources,
    ):
        self._multilabel = multilabel
        counts = Counter(name for source in sources.files for name in self._names(source.label))
        found = sorted(counts)
        self.classes = list(classes) if classes is not None else found
        self._check(found)
        self._index = {names.key(name): index for index, name in enumerate(self.classes)}
        self.notes = self._look_like_several()
        strange = [label for label in found if self._index_of(label) is None]
        if strange and not sources.from_folders:
            raise DataError(
                f"labels: '{strange[0]}' is none of the {len(self.classes)} classes."
                f"{closest(strange[0], self.classes)}{self._perhaps_several(strange[0])}"
            )
        if strange:  # a folder that is no class is only a folder
            self.notes.append(_other_folders(strange, counts))
        self.synonyms = self._synonyms(synonyms)

    def label(self, written: str | None) -> Label | None:
        """Returns what a label in the data means; None where it says nothing."""
        if written is None:
            return None
        if not self._multilabel:
            return self._index_of(written)
        indices = [self._index_of(name) for name in self._names(written)]
        if None in indices:  # a folder that is no class
            return None
        return tuple(sorted({index for index in indices if index is not None}))

    def _index_of(self, name: str) -> int | None:
        return self._index.get(names.key(name))

    def _names(self, written: str | None) -> list[str]:
        """The classes that a label names."""
        if written is None or (self._multilabel and written == NO_CLASS):
            return []
        if not self._multilabel:
            return [written]
        found = [name for part in written.split(LABEL_SEPARATOR) if (name := names.clean(part))]
        if not found:
            raise DataError(f"labels: '{written}' names no class. Expected '{NO_CLASS}' for none")
        return found

    def _perhaps_several(self, label: str) -> str:
        several = not self._multilabel and LABEL_SEPARATOR in label
        return (
            " Set data.multilabel: true (edgekd init: --multilabel) where images show several"
            if several
            else ""
        )

    def _look_like_several(self) -> list[str]:
        odd = [name for name in self.classes if LABEL_SEPARATOR in name]
        if self._multilabel or not odd:
            return []
        return [
            f"'{odd[0]}' is taken for the name of one class.{self._perhaps_several(odd[0])} of them"
        ]

    def _check(self, found: list[str]) -> None:
        if len(self.classes) < 2:
            raise DataError(
                "data.classes: missing, and the folder gives "
                f"{'no class names' if not found else f'only one ({found[0]})'}. "
                'List at least two class names (edgekd init: --classes "cat,dog"), or put the images '
                "in one folder a class"
            )
        fault = names.fault(self.classes)
        if fault:
            raise DataError(f"labels: {fault}")
        odd = [name for name in self.classes if LABEL_SEPARATOR in name or name == NO_CLASS]
        if self._multilabel and odd:
            raise DataError(
                f"data.classes: '{odd[0]}' cannot be told from several classes ('cat|dog') or none "
                f"('{NO_CLASS}') where data.multilabel is true. Rename it"
            )

    def _synonyms(self, given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        synonyms: dict[str, tuple[str, ...]] = {}
        for name, words in given.items():
            index = self._index_of(name)
            if index is None:
                raise DataError(
                    f"data.synonyms: '{name}' is no class.{closest(name, self.classes)}"
                )
            synonyms[self.classes[index]] = tuple(names.clean(word) for word in words)
        return synonyms


def _other_folders(strange: list[str], counts: Counter[str]) -> str:
    shown = ", ".join(f"'{name}' ({counts[name]})" for name in strange[:5])
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    return f"folders that are no class, so that their images carry no label: {shown}{more}"
