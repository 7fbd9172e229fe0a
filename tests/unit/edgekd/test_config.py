"""Faults of a config: all at once, by key, with the closest name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
import pytest

from edgekd import config as configs
from edgekd.config import Section
from edgekd.errors import ConfigError, UsageError


class Fruit(Section):
    kind: Literal["fruit"] = "fruit"
    colour: Literal["red", "green"] = "red"
    weight_g: int = pydantic.Field(100, ge=1)


class Stone(Section):
    kind: Literal["stone"] = "stone"
    hardness: float = 7.0


class Basket(Section):
    name: str
    fruit: Fruit = Fruit()
    thing: Fruit | Stone = pydantic.Field(Stone(), discriminator="kind")
    sizes: list[Literal["small", "large"]] = pydantic.Field(["small"])

    @pydantic.field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 8:
            raise ValueError(f"expected at most 8 letters, found {len(name)}")
        return name


def test_a_good_config_becomes_one_frozen_model() -> None:
    basket = configs.parse(Basket, {"name": "b", "fruit": {"colour": "green"}})
    assert basket.fruit.colour == "green"
    assert basket.fruit.weight_g == 100
    with pytest.raises(pydantic.ValidationError):
        basket.name = "other"  # type: ignore[misc]


def test_every_fault_is_listed_at_once_with_its_key() -> None:
    values = {
        "name": "far too long",
        "friut": {},
        "fruit": {"color": "red", "weight_g": 0},
        "thing": {"kind": "stone", "hardnes": 3},
        "sizes": ["small", "larg"],
    }
    with pytest.raises(ConfigError) as caught:
        configs.parse(Basket, values, "basket.yaml")
    assert sorted(caught.value.faults) == [
        "friut: unknown key. Closest: 'fruit'.",
        "fruit.color: unknown key. Closest: 'colour'.",
        "fruit.weight_g: input should be greater than or equal to 1, found 0",
        "name: expected at most 8 letters, found 12",
        "sizes.1: unknown 'larg', expected 'small' or 'large'. Closest: 'large'.",
        "thing.hardnes: unknown key. Closest: 'hardness'.",
    ]
    first, *others = str(caught.value).splitlines()
    assert first == "basket.yaml: 6 faults"
    assert all(line.startswith("  ") for line in others)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, "name: missing, and it has no default"),
        ({"name": "b", "zzzzzz": 1}, "zzzzzz: unknown key."),
        ({"name": "b", "hardness": 1}, "hardness: unknown key. Closest: 'thing.hardness'."),
        (
            {"name": "b", "fruit": {"hardness": 1}},
            "fruit.hardness: unknown key. Closest: 'thing.hardness'.",
        ),
        (
            {"name": "b", "fruit": {"colour": "grean"}},
            "fruit.colour: unknown 'grean', expected 'red' or 'green'. Closest: 'green'.",
        ),
        (
            {"name": "b", "fruit": {"weight_g": "heavy"}},
            "fruit.weight_g: input should be a valid integer, unable to parse string as an "
            "integer, found 'heavy'",
        ),
    ],
)
def test_one_fault(values: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.parse(Basket, values)
    assert caught.value.faults == [fault]
    assert str(caught.value).startswith("config: 1 fault\n")


def test_set_reads_the_value_as_yaml_and_leaves_the_original_alone() -> None:
    values = {"name": "b", "fruit": {"colour": "red"}}
    overrides = ["fruit.colour=green", "fruit.weight_g=5", "sizes=[large, small]", "name= c"]
    assert configs.apply_overrides(values, overrides) == {
        "name": "c",
        "fruit": {"colour": "green", "weight_g": 5},
        "sizes": ["large", "small"],
    }
    assert values == {"name": "b", "fruit": {"colour": "red"}}


def test_set_opens_sections_that_are_missing_or_empty() -> None:
    assert configs.apply_overrides({"fruit": None}, ["fruit.weight_g=5", "a.b.c=1"]) == {
        "fruit": {"weight_g": 5},
        "a": {"b": {"c": 1}},
    }


def test_set_keeps_what_stands_behind_the_first_equals_sign() -> None:
    assert configs.apply_overrides({}, ["name=a=b"]) == {"name": "a=b"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fruit", "--set fruit: expected KEY=VALUE, for example distill.steps=500"),
        ("=5", "--set =5: expected KEY=VALUE, for example distill.steps=500"),
        ("name.x=5", "--set name.x=5: 'name' holds a value, not keys"),
        ("name=[1", "--set name=[1: value is not readable as YAML"),
    ],
)
def test_a_wrong_set(override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        configs.apply_overrides({"name": "b"}, [override])
    assert str(caught.value) == message


def test_a_file_is_read_with_overrides_and_dumped_again(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text("name: bänk\nthing: {kind: fruit, weight_g: 3}\n", encoding="utf-8")
    basket = configs.load(Basket, path, ["thing.weight_g=4"])
    assert isinstance(basket.thing, Fruit)
    assert basket.thing.weight_g == 4
    path.write_text(configs.dump_yaml(basket), encoding="utf-8")
    assert "bänk" in path.read_text(encoding="utf-8")
    assert configs.load(Basket, path) == basket


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not readable as YAML"),
        (b"\xff\xfe\xfa", "not readable as YAML"),
        (b"- 1\n- 2\n", "expected keys and values at the top, found list"),
        (b"", "expected keys and values at the top, found nothing"),
    ],
)
def test_a_file_that_is_no_mapping(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        configs.read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .* Write one with: edgekd init FOLDER"):
        configs.read_yaml(tmp_path / "none.yaml")


def test_an_unknown_kind_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        configs.parse(Basket, {"name": "b", "thing": {"kind": "stones"}})
    assert caught.value.faults == [
        "thing.kind: unknown 'stones', expected fruit, stone. Closest: 'stone'."
    ]
