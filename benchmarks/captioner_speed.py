"""Speed of captioning models against loops as people write them: `python -m benchmarks.captioner_speed`.

Three claims: captions of many images together against one `generate` of transformers a caption;
the information gain of 100 classes against one full forward pass a class; and what storing and
filtering captions adds. BLIP with random weights, tiny and of BLIP-base's size, whose captions never
end: all come out of one length. The ways alternate within each round; a round has images of its
own. --screen: the tiny model alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import results_file
from edgekd.machine import cpu_name
from edgekd.names import spoken
from edgekd.records import Caption, Item, TaskSpec

CLAIM = (
    "On a CPU, captions that share one encoding of their image and are sampled together come at "
    "least twice as fast as one generate a caption; 100 classes are scored at least 5 times as fast "
    "as by a full forward pass each; store and filter take less than 5% of the generation."
)
NUM_CLASSES = 100
TEMPERATURES = (0.7, 1.0)
CAPTIONS = 4
_VOCABULARY = 30_518  # with the special tokens and the rows without a word, 30,526: BLIP has 30,524
_FILTERED = 2000


@dataclass(frozen=True)
class Size:
    """A model and how much is measured in a round: images looked at together, and one by one;
    `passes` are of the naive scoring."""

    name: str
    sizes: dict[str, Any]
    num_words: int
    max_tokens: int
    num_images: int
    num_naive: int
    passes: int


TINY = Size("tiny", {}, 300, 12, 8, 8, NUM_CLASSES)
BASE = Size(
    "blip_base",
    {
        "vision": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 384,
        },
        "text": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "max_position_embeddings": 512,
            "initializer_range": 0.02,
        },
    },
    _VOCABULARY,
    12,
    2,
    1,
    4,
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--screen", action="store_true", help="the tiny model alone, one round")
    words = parser.parse_args()
    seeds = words.seeds[:1] if words.screen else words.seeds
    os.environ["OMP_NUM_THREADS"] = str(words.threads)
    import torch

    torch.set_num_threads(words.threads)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="captioner-speed-") as scratch:
        for size in (TINY,) if words.screen else (TINY, BASE):
            measured = Measured(size, Path(scratch) / size.name)
            rounds = [measured.one_round(seed, first) for first, seed in enumerate(seeds)]
            figures |= _figures(size, rounds)
        stored = [_store_and_filter(seed, Path(scratch)) for seed in seeds]
    last = TINY if words.screen else BASE
    figures["store_and_filter_seconds_per_caption"] = results_file.figure(
        stored, "seconds", _FILTERED
    )
    generation = figures[f"{last.name}_batched_seconds_per_caption"]["per_seed"]
    shares = [store / made for store, made in zip(stored, generation, strict=True)]
    figures[f"store_and_filter_of_{last.name}_generation"] = results_file.figure(shares, "share")
    for name, found in figures.items():
        print(f"{name:56} {found['value']:.4g} {found['unit']}", file=sys.stderr)
    if words.screen:
        return 0
    path = results_file.write(
        "captioner_speed",
        claim=CLAIM,
        command="python -m benchmarks.captioner_speed --threads "
        f"{words.threads} --seeds {' '.join(map(str, seeds))}",
        seeds=seeds,
        data={
            "name": "random images, 384 px for blip_base, 32 px for tiny",
            "digest": None,
            "counts": {"images_a_round": {size.name: size.num_images for size in (TINY, BASE)}},
        },
        figures=figures,
        notes=_notes(words.threads),
    )
    print(path.read_text())
    return 0


class Measured:
    """One model, loaded once for us in each precision and once as the documentation has it."""

    def __init__(self, size: Size, folder: Path):
        import transformers

        from tests.unit import tiny_captioners

        self.size = size
        vocabulary = [*_class_words(), *(f"w{n}" for n in range(size.num_words))]
        vocabulary = list(dict.fromkeys(vocabulary))[: size.num_words]
        tiny_captioners.blip(folder, vocabulary, ends=False, **size.sizes)
        self.folder = folder
        self.network = transformers.BlipForConditionalGeneration.from_pretrained(folder).eval()
        self.processor = transformers.AutoProcessor.from_pretrained(folder)
        self.batched = self._teacher(CAPTIONS, False, "fp32")
        self.single = self._teacher(1, False, "fp32")
        self.half = self._teacher(CAPTIONS, False, "bf16")
        self.scorer = self._teacher(0, True, "fp32")
        # One model in memory, and whatever is worked out once a run is worked out.
        for teacher in (self.single, self.scorer):
            teacher.__dict__["_family"] = self.batched._family
        warm = self._images(10**6)[:1]
        for teacher in (self.batched, self.single, self.half, self.scorer):
            teacher.look(_items(1), warm)

    def one_round(self, seed: int, first: int) -> dict[str, float]:
        """Returns the processor's seconds of each way an image; every other round begins at the end."""
        images = self._images(seed)
        items, few = _items(len(images)), images[: self.size.num_naive]
        ways: list[tuple[str, Callable[[], Any]]] = [
            ("naive", lambda: self._naive(few, CAPTIONS)),
            ("batched", lambda: self.batched.look(items, images)),
            ("one_call", lambda: self._one_call(few)),
            ("batched_bf16", lambda: self.half.look(items, images)),
            ("naive_single", lambda: self._naive(few, 1)),
            ("batched_single", lambda: self.single.look(items, images)),
            ("forward", lambda: self._forward(images[0])),
            ("scored", lambda: self.scorer.look(items[: len(few)], few)),
        ]
        seconds, found = {}, {}
        for name, way in ways if first % 2 == 0 else ways[::-1]:
            start = time.process_time()
            found[name] = way()
            seconds[name] = time.process_time() - start
            print(f"{self.size.name} {seed} {name}: {seconds[name]:.2f} s", file=sys.stderr)
        self._check(found)
        together = ("batched", "batched_bf16", "batched_single")
        counts = {name: len(images) if name in together else len(few) for name in seconds}
        return {name: spent / counts[name] for name, spent in seconds.items()} | {
            "forward": seconds["forward"] / self.size.passes
        }

    def _naive(self, images: list[Image.Image], captions: int) -> list[int]:
        """One generate a caption, as the documentation of transformers has it; counts tokens."""
        texts, lengths = [], []
        for image in images:
            for index in range(captions):
                inputs = self.processor(images=image, return_tensors="pt")
                out = self.network.generate(
                    **inputs,
                    do_sample=True,
                    temperature=TEMPERATURES[index % len(TEMPERATURES)],
                    max_new_tokens=self.size.max_tokens,
                )
                texts.append(self.processor.decode(out[0], skip_special_tokens=True))
                lengths.append(out.shape[1] - 1)  # without the beginning
        return lengths

    def _one_call(self, images: list[Image.Image]) -> list[int]:
        """One generate an image and temperature, as somebody writes it who knows of more."""
        texts, lengths = [], []
        for image in images:
            inputs = self.processor(images=image, return_tensors="pt")
            for temperature in TEMPERATURES:
                out = self.network.generate(
                    **inputs,
                    do_sample=True,
                    temperature=temperature,
                    num_return_sequences=CAPTIONS // len(TEMPERATURES),
                    max_new_tokens=self.size.max_tokens,
                )
                texts += self.processor.batch_decode(out, skip_special_tokens=True)
                lengths += len(out) * [out.shape[1] - 1]
        return lengths

    def _forward(self, image: Image.Image) -> list[float]:
        """log p of the first classes' sentences by one full forward pass each."""
        import torch

        found = []
        config = self.network.config.text_config
        for name in _task().classes[: self.size.passes]:
            ids = self.processor.tokenizer(_sentence(name), add_special_tokens=False)["input_ids"]
            ids = torch.tensor([[config.bos_token_id, *ids, config.sep_token_id]])
            inputs = self.processor(images=image, return_tensors="pt")
            with torch.inference_mode():
                logits = self.network(**inputs, input_ids=ids).logits
            log_probs = torch.log_softmax(logits[0, :-1], dim=-1)
            found.append(float(log_probs.gather(1, ids[0, 1:, None]).sum()))
        return found

    def _check(self, found: dict[str, Any]) -> None:
        """Every way made as many captions of as many tokens, and the scores are the same."""
        one = CAPTIONS * [self.size.max_tokens]
        lengths = {
            "naive": found["naive"],
            "one_call": found["one_call"],
            "batched": [len(_words(caption)) for caption in found["batched"].captions],
            "batched_bf16": [len(_words(caption)) for caption in found["batched_bf16"].captions],
        }
        for name, each in lengths.items():
            if each != len(each) // CAPTIONS * one:
                raise SystemExit(f"{name}: captions of {each} tokens, expected {one} an image")
        gain = (
            found["scored"].arrays["gain"][0, : self.size.passes]
            + self.scorer._without[: self.size.passes]
        )
        if not np.allclose(gain, found["forward"], atol=1e-3):
            raise SystemExit("scores differ from those of full forward passes")

    def _images(self, seed: int) -> list[Image.Image]:
        side = self.network.config.vision_config.image_size
        rng = np.random.default_rng(seed)
        shape = (self.size.num_images, side, side, 3)
        return [Image.fromarray(p) for p in rng.integers(0, 256, shape, dtype=np.uint8)]

    def _teacher(self, captions: int, scores: bool, dtype: str) -> Any:
        from captioning.teachers.captioner import CaptionerTeacher
        from captioning.teachers.captioner_config import CaptionerConfig
        from captioning.teachers.protocol import Brief

        config = CaptionerConfig(
            model=str(self.folder),
            batch_size=8,
            dtype=dtype,
            device="cpu",
            max_tokens=self.size.max_tokens,
            score_classes=scores,
        )
        return CaptionerTeacher(config, Brief(_task(), captions, TEMPERATURES, 0, self.folder))


def _figures(size: Size, rounds: list[dict[str, float]]) -> dict[str, Any]:
    per_class = [r["forward"] * NUM_CLASSES / r["scored"] for r in rounds]
    found = {
        "batched_over_naive": [r["naive"] / r["batched"] for r in rounds],
        "batched_over_one_call_an_image_and_temperature": [
            r["one_call"] / r["batched"] for r in rounds
        ],
        "batched_bf16_over_naive_fp32": [r["naive"] / r["batched_bf16"] for r in rounds],
        "batched_over_naive_with_one_caption_an_image": [
            r["naive_single"] / r["batched_single"] for r in rounds
        ],
        "scores_over_one_forward_a_class": per_class,
    }
    figures = {
        f"{size.name}_{name}": results_file.figure(values, "ratio")
        for name, values in found.items()
    }
    for name in ("naive", "one_call", "batched", "batched_bf16"):
        seconds = [r[name] / CAPTIONS for r in rounds]
        figures[f"{size.name}_{name}_seconds_per_caption"] = results_file.figure(seconds, "seconds")
    scored = [r["scored"] for r in rounds]
    figures[f"{size.name}_scores_of_{NUM_CLASSES}_classes_seconds_per_image"] = results_file.figure(
        scored, "seconds"
    )
    return figures


def _store_and_filter(seed: int, scratch: Path) -> float:
    """Returns the seconds a caption that it takes to store what was said, read, filter and store."""
    from captioning import captions as captions_io
    from captioning.matching import Lexicon
    from captioning.quality import QualityFilter, Topics
    from captioning.repeated import find_repeated
    from captioning.rules import load_rules
    from captioning.sentences import SentenceEncoder

    rng = np.random.default_rng(seed)
    captions, measured = _spoken(rng)
    task, rules, encoder = _task(), load_rules(), SentenceEncoder()
    topics = Topics(encoder.encode, [_sentence(name) for name in task.classes])
    times = []
    for attempt in range(3):
        start = time.process_time()
        raw = scratch / f"raw-{attempt}.parquet"
        captions_io.save(captions, raw)
        filtered = QualityFilter(
            task,
            rules,
            near_duplicate_jaccard=0.9,
            min_attribute=0.1,
            min_confidence=0.05,
            repeated=find_repeated(captions_io.load(raw), Lexicon(task), rules.limits.duplicates),
            topics=topics,
        )
        captions_io.save(filtered(captions_io.load(raw), measured), scratch / "captions.parquet")
        times.append((time.process_time() - start) / len(captions))
    return median(times)


def _spoken(rng: np.random.Generator) -> tuple[list[Caption], dict[str, np.ndarray]]:
    """Sentences of the composed teacher about made-up images: what a filter meets, but for sense."""
    from captioning.attributes import WORDS
    from captioning.prompts import sample_sentence

    captions, measured = [], {}
    for number in range(_FILTERED // CAPTIONS):
        item = f"{number:064x}"
        measured[item] = rng.random(len(WORDS)).astype(np.float32)
        probs = rng.dirichlet(np.full(NUM_CLASSES, 0.05))
        for index in range(CAPTIONS):
            temperature = TEMPERATURES[index % len(TEMPERATURES)]
            text, template, confidence = sample_sentence(
                probs, measured[item], _task().classes, temperature, rng
            )
            captions.append(
                Caption(item, index, text, template, temperature, number, "made/up", confidence)
            )
    return captions, measured


def _task() -> TaskSpec:
    """100 classes of one word to three."""
    firsts = ("red", "small", "wild", "electric", "wooden")
    seconds = ("cat", "dog", "guitar", "apple", "table", "chair", "lamp", "bird", "boat", "clock")
    names = [*seconds, *(f"{first}_{second}" for first in firsts for second in seconds)]
    names += [f"very_{name}" for name in names[len(seconds) :]]
    return TaskSpec("things", tuple(names[:NUM_CLASSES]))


def _class_words() -> Iterable[str]:
    yield from ["a", "an", "photo", "of"]
    for name in _task().classes:
        yield from name.split("_")


def _sentence(name: str) -> str:
    said = spoken(name)
    return f"a photo of {'an' if said[0] in 'aeiou' else 'a'} {said}"


def _words(caption: Caption) -> list[str]:
    return caption.text.removesuffix("…").split()


def _items(count: int) -> list[Item]:
    return [Item(f"{number:064x}", f"{number}.png", "train") for number in range(count)]


def _notes(threads: int) -> str:
    return (
        f"{threads} thread{'s' if threads > 1 else ''}, {cpu_name()}; seconds are the processor's, "
        "since the machine was shared with other work, and the ways alternate. "
        f"{CAPTIONS} captions an image of {BASE.max_tokens} tokens each, at two temperatures. "
        "blip_base has BlipConfig's own sizes (ViT-B/16 at 384 px, BERT-base, 30,524 words); "
        f"{BASE.num_images} images are looked at together, one for the other ways, and times are an "
        "image. What the ratio is made of: on a CPU the vision encoder is bound by arithmetic, so "
        "images together gain it nothing, and an image encoded once for its captions gains nearly "
        "their number; the decoder reads all its weights at each step, once for all captions of a "
        "few images instead of once for each. With one caption an image nothing of this is left: "
        "two images together took the processor as long as one after the other. one_call is "
        "generate with num_return_sequences, which encodes an image once a temperature. scores: "
        f"{BASE.passes} full passes a round for blip_base, taken for {NUM_CLASSES} by the time of "
        "one, against all classes of one image. All ways made as many tokens, and the scores were "
        "the same. What is worked out once a run (loading, the scores without an image) is in "
        f"none. Store and filter: {_FILTERED} sentences of the composed teacher, written, read "
        "twice, filtered by all rules with the embedding of each text (MiniLM), written again; in "
        "parts of the tiny model's generation it says nothing."
    )


if __name__ == "__main__":
    raise SystemExit(main())
