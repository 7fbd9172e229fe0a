"""Private data is found, redacted or refused, and what was not looked for is said."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from PIL import Image

from captioning import privacy
from captioning.privacy import Detector, Finding, PrivacyFilter, redacted
from captioning.rules import load_rules
from captioning.teachers.discreet import DiscreetTeacher
from captioning.teachers.protocol import Conclusion, Look
from edgekd.errors import UsageError
from edgekd.manifest import Manifest
from edgekd.records import Caption, Item, TaskSpec

NAMES = ["Maria", "Rose", "Paris", "Jordan"]
RULES = load_rules().private


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(RULES, given_names=NAMES)


def caption(text: str, dropped: str | None = None) -> Caption:
    return Caption("a", 0, text, "plain", 1.0, 0, "test", 0.9, dropped)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A red cat on a sofa.", "A red cat on a sofa."),
        ("Call 020 7946 0958 for details.", "Call [phone] for details."),
        ("A sign with +1 212-555-0187 on it.", "A sign with [phone] on it."),
        ("Write to anna.b@example.co.uk now.", "Write to [email] now."),
        ("A card 4111 1111 1111 1111 on a table.", "A card [card] on a table."),
        # One digit off: the check digit says that it is no card.
        ("A card 4111 1111 1111 1112 on a table.", "A card 4111 1111 1111 1112 on a table."),
        ("A note: DE89 3704 0044 0532 0130 00.", "A note: [iban]."),
        ("A car with the licence plate AB12 CDE.", "A car with the licence plate [plate]."),
        ("A van, registration 4-XKZ-98, parks.", "A van, registration [plate], parks."),
        ("A box marked 4-XKZ-98.", "A box marked 4-XKZ-98."),  # weak without a word beside it
        ("A house at 12 Elm Street.", "A house at [address]."),
        ("Ein Haus in der Lindenstraße 12.", "Ein Haus in der [address]."),
        ("Follow @wild_cat99 there.", "Follow [handle] there."),
        ("See www.example.com/cats for more.", "See [url] for more."),
        ("A portrait of Maria Schmidt at the window.", "A portrait of [name] at the window."),
        ("Maria's dog sleeps.", "[name]'s dog sleeps."),
        ("Mr. Okonkwo waves.", "[name] waves."),
        ("The singer Thandiwe Mokoena on a stage.", "The singer [name] on a stage."),
        ("A girl called Zuleika plays.", "A girl called [name] plays."),
        ("Rose Miller and a dog.", "[name] and a dog."),
        ("Rose petals on a table.", "Rose petals on a table."),
        ("Jordan River at dawn.", "Jordan River at dawn."),
        ("A Maria Statue In Wood And Stone", "A Maria Statue In Wood And Stone"),  # a headline
        ("Two cats in 2019, 30 x 40 cm.", "Two cats in 2019, 30 x 40 cm."),
        ("CAM_20210203_101112", "CAM_20210203_101112"),
        ("A cat, 2018-05-06 11.12.13.", "A cat, 2018-05-06 11.12.13."),
        ("French bread and London buses.", "French bread and London buses."),
        ("A Boeing 747 on runway 2.", "A Boeing 747 on runway 2."),
        ("Maria (maria@example.org, 020 7946 0958)", "[name] ([email], [phone])"),
        ("", ""),
    ],
)
def test_what_is_private(detector: Detector, text: str, said: str) -> None:
    assert redacted(text, detector.find(text)) == said


def test_redacted_keeps_what_stands_around() -> None:
    assert redacted("ab cd ef", [Finding("name", 0, 2), Finding("url", 6, 8)]) == "[name] cd [url]"


def test_redact_and_refuse(detector: Detector) -> None:
    given = [
        caption("A cat."),
        caption("Maria, call 020 7946 0958!"),
        caption("Maria again.", "low confidence"),
    ]
    redact = PrivacyFilter(detector, "redact")
    assert [(c.text, c.dropped) for c in redact(given)] == [
        ("A cat.", None),
        ("[name], call [phone]!", None),
        ("[name] again.", "low confidence"),
    ]
    refuse = PrivacyFilter(detector, "refuse")
    assert [(c.text, c.dropped) for c in refuse(given)] == [
        ("A cat.", None),
        ("[name], call [phone]!", "private: name, phone"),
        ("[name] again.", "low confidence"),
    ]
    assert refuse.not_looked_for == (
        "names in running text: no spaCy model",
    )  # fmt: skip
    counted = privacy.Counted()
    assert len(list(counted(refuse(given)))) == 3
    assert (counted.captions, counted.kinds) == (2, {"name": 2, "phone": 1})


class Gossip:
    """Says a name while it looks, and a number when it concludes."""

    name, settings = "test/gossip", "s" * 12

    def look(self, items: list[Item], images: list[Image.Image]) -> Look:
        return Look({}, tuple(caption("Maria sleeps.") for _ in items))

    def conclude(self, manifest: Manifest, observed: dict[str, np.ndarray]) -> Conclusion:
        return Conclusion(captions=[caption("call 020 7946 0958")], summary={"head": {}})


def test_a_discreet_teacher_says_nothing_private(detector: Detector) -> None:
    teacher = DiscreetTeacher(Gossip(), lambda: PrivacyFilter(detector, "redact"), "redact")
    manifest = Manifest(TaskSpec("test", ("cat",)), [Item("a", "a.png", "train")])
    (said,) = teacher.look(manifest.items, []).captions
    assert said.text == "[name] sleeps."
    conclusion = teacher.conclude(manifest, {})
    assert [c.text for c in conclusion.captions] == ["call [phone]"]
    assert conclusion.summary["not_looked_for"] == ["names in running text: no spaCy model"]
    assert teacher.settings != DiscreetTeacher(Gossip(), lambda: None, "refuse").settings  # type: ignore[arg-type, return-value]


def test_without_a_list_of_names_it_says_so() -> None:
    detector = Detector(RULES, given_names=[])
    assert detector.not_looked_for[-1] == "given names: no list (pip install faker)"
    assert detector.find("Maria sleeps.") == ()
    assert detector.find("Mrs. Maria sleeps.") == (Finding("name", 0, 10),)


def test_no_such_model() -> None:
    with pytest.raises(UsageError, match=r"no spaCy model 'en_none' is installed\. Install"):
        Detector(RULES, "en_none")


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it comes, presidio's e-mail recognizer fetches a list of domains."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    detector = Detector(RULES, given_names=[])
    assert detector.find("a@b.example.com")[0].kind == "email"


def test_every_kind_of_the_rules_has_its_place() -> None:
    assert set(RULES.kinds) <= set(privacy._ENTITIES)
