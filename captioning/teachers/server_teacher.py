"""A vision model behind a server as a `Teacher`: what it answers are captions, paid for once.

Every answer goes to a journal in the brief's notes before anything else happens to it. A run that
was stopped, or that reached its limit, asks only for what is not in there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from captioning.teachers.configs import VisionServerConfig
from captioning.teachers.in_order import ask_in_order
from captioning.teachers.protocol import Brief, Conclusion, Look, caption_seed
from captioning.teachers.server import Ask, Reply, usage
from captioning.teachers.spending import NOTHING, Amount
from edgekd.errors import TeacherError
from edgekd.manifest import Manifest
from edgekd.names import spoken
from edgekd.records import Caption, Item
from edgekd.store import digest

# What an answer depends on; limits, prices and patience may change between two runs.
_ANSWERED_WITH = ("base_url", "model", "max_tokens", "image_side", "jpeg_quality", "prompts")
# Servers do not say how sure a model is of a sentence.
_CONFIDENCE = 1.0


class ServerTeacher:
    """Implements `captioning.teachers.protocol.Teacher`; it speaks, and gives no scores."""

    def __init__(self, config: VisionServerConfig, brief: Brief):
        self._config = config
        self._brief = brief

    @property
    def name(self) -> str:
        return self._config.name

    @property
    def settings(self) -> str:
        brief = self._brief
        answered_with = self._config.model_dump(mode="json", include=set(_ANSWERED_WITH))
        named = any("{classes}" in prompt for prompt in self._config.prompts)
        classes = brief.task.classes if named else ()
        how_often = [brief.captions_per_image, brief.temperatures]
        return digest([answered_with, brief.seed, *how_often, classes])

    def look(self, items: Sequence[Item], images: Sequence[Image.Image]) -> Look:
        """Returns one caption for every usable answer, and `answered` [n], how many there are.

        Raises:
            TeacherError: a limit was reached or the server is no use; what was answered is kept.
        """
        wanted = [
            (item, index) for item in items for index in range(self._brief.captions_per_image)
        ]
        answers = self._journal.answers
        asked = [(item, index) for item, index in wanted if (item.id, index) not in answers]
        asks = [self._ask(item, index) for item, index in asked]
        if asks:
            self._answer(asked, asks)
        said = [
            self._caption(item.id, index, answers[item.id, index].text)
            for item, index in wanted
            if answers[item.id, index].reason is None
        ]
        counts = {item.id: 0 for item in items}
        for caption in said:
            counts[caption.item_id] += 1
        return Look({"answered": np.array(list(counts.values()), dtype=np.int32)}, tuple(said))

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        """Returns no scores; the summary says what the answers came to, and what they cost."""
        found = dataclasses.asdict(usage(self._journal.answers.values()))
        silent = int((observed["answered"] == 0).sum())
        head = {"captions": f"{int(observed['answered'].sum())} usable, {silent} images without"}
        summary: dict[str, Any] = {"head": head, "weights": [], "num_params": None, "usage": found}
        return Conclusion(summary=summary)

    def _answer(self, asked: list[tuple[Item, int]], asks: list[Ask]) -> None:
        not_asked: str | None = None
        with ask_in_order(asks, self._config, self._journal.spent) as replies:
            for number, reply in replies:
                item, index = asked[number]
                if reply.asked:
                    self._journal.add(item.id, index, reply)
                else:
                    not_asked = reply.reason
        if not_asked is not None:
            done = len({item_id for item_id, _ in self._journal.answers})
            raise TeacherError(
                f"{self.name}: {not_asked}. The answers for {done} images are kept; mend it or raise "
                "the limit, and the same command goes on"
            )

    def _ask(self, item: Item, index: int) -> Ask:
        prompts = self._config.prompts
        classes = ", ".join(map(spoken, self._brief.task.classes))
        seed = caption_seed(self._brief.seed, item.id, index, self.name) % 2**31  # servers' limit
        return Ask(
            item.id,
            self._brief.folder / item.path,
            prompts[index % len(prompts)].replace("{classes}", classes),
            self._brief.temperature(index),
            seed,
        )

    def _caption(self, item_id: str, index: int, text: str) -> Caption:
        seed = caption_seed(self._brief.seed, item_id, index, self.name)
        template = f"prompt {index % len(self._config.prompts)}"
        temperature = self._brief.temperature(index)
        line = " ".join(text.split())
        return Caption(item_id, index, line, template, temperature, seed, self.name, _CONFIDENCE)

    @cached_property
    def _journal(self) -> _Journal:
        return _Journal(self._brief.notes / f"answers-{self.settings[:16]}.jsonl")


class _Journal:
    """Replies by (item, index), one a line; a line that was cut is as if it had not come."""

    def __init__(self, path: Path):
        self._path = path
        self._begun = False
        self.answers: dict[tuple[str, int], Reply] = dict(self._read())

    @property
    def spent(self) -> Amount:
        return usage(self.answers.values()).spent if self.answers else NOTHING

    def add(self, item_id: str, index: int, reply: Reply) -> None:
        self.answers[item_id, index] = reply
        line = {"item": item_id, "index": index} | dataclasses.asdict(reply)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as stream:
            if not self._begun:  # what was there may end in the middle of a line
                stream.write("\n")
                self._begun = True
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _read(self) -> Iterator[tuple[tuple[str, int], Reply]]:
        if not self._path.is_file():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(line)
                key = values.pop("item"), values.pop("index")
                yield key, Reply(**values | {"unsure": Amount(**values["unsure"])})
            except (ValueError, KeyError, TypeError):
                continue
