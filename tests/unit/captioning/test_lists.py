"""Lists as language models write them."""

from __future__ import annotations

import pytest

from captioning.lists import MAX_CHARACTERS, items, merged

EARS = ["pointed ears", "long whiskers"]


@pytest.mark.parametrize(
    "text",
    [
        "1. pointed ears\n2. long whiskers",
        "1) pointed ears\n2) long whiskers",
        "(1) pointed ears\n(2) long whiskers",
        "1.pointed ears\n2.long whiskers",
        "a) pointed ears\nb) long whiskers",
        "- pointed ears\n- long whiskers",
        "* pointed ears\n* long whiskers\n",
        "• pointed ears\n• long whiskers",
        "•pointed ears\n•long whiskers",
        "– pointed ears\r\n– long whiskers\r\n",
        "Sure! Here are two features:\n\n1. **pointed ears**\n2. **long whiskers**\n\nI hope this helps!",
        "Here are two:\n- pointed ears.\n- long whiskers.",
        "- Ears and so on:\n  - pointed ears\n  - long whiskers",
        "1. pointed\n   ears\n2. long whiskers",
        '["pointed ears", "long whiskers"]',
        '```json\n["pointed ears", "long whiskers"]\n```',
        '{"features": ["pointed ears", "long whiskers"]}',
        "pointed ears\nlong whiskers",
        "Here are two:\npointed ears\nlong whiskers",
        "Sure, two of them.\npointed ears\nlong whiskers",
        "pointed ears; long whiskers",
        '"pointed ears"\n"long whiskers"',
        "1. `pointed ears`\n\n\n2. _long whiskers_",
        "### pointed ears\n### long whiskers",
    ],
)
def test_the_same_list_in_many_ways(text: str) -> None:
    assert items(text) == EARS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- **Ears**: pointed and upright", ["Ears: pointed and upright"]),
        ("1. 3.5 cm long\n2. -shaped like a T", ["3.5 cm long", "-shaped like a T"]),
        ("3.5 cm long\nT-shaped", ["3.5 cm long", "T-shaped"]),
        ("It has fur. It has 4 legs. It purrs.", ["It has fur", "It has 4 legs", "It purrs"]),
        ("ears, whiskers, a long tail", ["ears", "whiskers", "a long tail"]),
        ("A cat has fur, whiskers, and a long tail.",
         ["A cat has fur, whiskers, and a long tail"]),
        ("1、尖耳朵\n2、长胡须", ["尖耳朵", "长胡须"]),
        ("以下是特征：\n尖耳朵。\n长胡须。", ["尖耳朵", "长胡须"]),
        ("有尖耳朵。有长胡须。", ["有尖耳朵", "有长胡须"]),
        ("①尖耳朵\n②长胡须", ["尖耳朵", "长胡须"]),
        ('["ears", 7, null, ""]', ["ears"]),
        ('{"name": "cat"}', ['{"name": "cat"}']),
        ("- \n- -\n- x\n- ok", ["ok"]),
        ("- " + "x" * (MAX_CHARACTERS + 1) + "\n- ok", ["ok"]),
        ("", []),
        ("Here are the features:", []),
    ],
)  # fmt: skip
def test_what_is_harder(text: str, expected: list[str]) -> None:
    assert items(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. pointed ears\n2. long whi", ["pointed ears"]),
        ("pointed ears\nlong whi", ["pointed ears"]),
        ("It has fur. It ha", ["It has fur"]),
        ("1. poin", []),
    ],
)
def test_of_a_text_that_was_cut_the_last_goes(text: str, expected: list[str]) -> None:
    assert items(text, is_cut=True) == expected


def test_lists_are_merged_in_turn_without_repeats() -> None:
    found = merged([["Ears", "a tail", "fur"], ["the  tail!", "paws"], []], most=10)
    assert found == ["Ears", "the  tail!", "paws", "fur"]
    assert merged([["ears", "tail", "fur"], ["paws"]], most=2) == ["ears", "paws"]
    assert merged([], most=2) == []
