"""Blocks of a teacher: which are found, which changes least, and what is left works and loads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import UsageError, WeightsError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
timm = pytest.importorskip("timm")

from captioning.teachers import thinning as th  # noqa: E402

SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
PIXELS = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def embeds(model: Any, batch: Any) -> Any:
    return model(batch).last_hidden_state[:, 0]


@pytest.fixture
def vit() -> Any:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        **SIZES, num_hidden_layers=4, num_labels=3, initializer_range=0.5
    )
    return transformers.ViTForImageClassification(config).eval()


def silence(layer: Any) -> None:
    """A transformer layer that adds nothing to what passes through it."""
    for name, parameter in layer.named_parameters():
        if "layernorm" not in name and "layer_norm" not in name:
            parameter.data.zero_()


def idle(vit: Any, index: int) -> Any:
    silence(vit.vit.layers[index])
    return vit


def test_hsic_by_hand() -> None:
    # tr = 2, sums 2 * 2 / (3 * 2), rows 2 * 2 / 2; over 4 * 1.
    matrix = np.zeros((4, 4))
    matrix[0, 1] = matrix[1, 0] = 1
    assert th.hsic(matrix, matrix) == pytest.approx((2 + 2 / 3 - 2) / 4)
    # The diagonal says nothing of an unbiased estimate.
    assert th.hsic(matrix + np.eye(4) * 7, matrix) == pytest.approx(1 / 6)


def test_angles_by_hand() -> None:
    before = torch.tensor([[[1.0, 0], [1, 0], [1, 0], [1, 1]]])
    after = torch.tensor([[[2.0, 0], [0, 3], [-1, 0], [0, 1]]])
    assert th.angular_distance(before, after)[0].tolist() == pytest.approx(
        [0, 0.5, 1, 0.25], abs=1e-3
    )
    # Of maps the channels, wherever they stand.
    maps = torch.rand(2, 3, 4, 4)
    assert th.angular_distance(maps, 2 * maps).shape == (2, 4, 4)
    assert th.angular_distance(maps.permute(0, 2, 3, 1), maps.permute(0, 2, 3, 1)).shape == (
        2,
        4,
        4,
    )


def test_the_layers_of_a_vit_are_found(vit: Any) -> None:
    assert th.find(vit, PIXELS) == [th.Stack("vit.layers", 4, ((0, 1, 2, 3),))]


@pytest.mark.parametrize("measure", ["cka", "angular"])
@pytest.mark.parametrize("way", ["greedy", "contiguous"])
def test_the_block_that_does_nothing_goes_first(vit: Any, measure: Any, way: Any) -> None:
    idle(vit, 2)
    thinned = th.thin(vit, [PIXELS], 1, measure=measure, way=way)
    ((name, distance),) = thinned.dropped
    assert name == "vit.layers.2"
    assert distance == pytest.approx(0, abs=1e-3)
    assert (len(vit.vit.layers), vit.config.num_hidden_layers) == (4, 4)
    assert (len(thinned.model.vit.layers), thinned.model.config.num_hidden_layers) == (3, 3)
    torch.testing.assert_close(th.answer(thinned.model, PIXELS), th.answer(vit, PIXELS))


def test_greedy_names_blocks_as_the_whole_model_does(vit: Any) -> None:
    idle(idle(vit, 1), 3)
    thinned = th.thin(vit, [PIXELS], 2)
    assert {name for name, _ in thinned.dropped} == {"vit.layers.1", "vit.layers.3"}


def test_the_names_of_the_blocks_are_enough_to_thin_another_copy(vit: Any) -> None:
    thinned = th.thin(vit, [PIXELS], 2)
    again = th.without(vit, [name for name, _ in thinned.dropped])
    again.load_state_dict(thinned.model.state_dict())
    assert again.config.num_hidden_layers == 2
    torch.testing.assert_close(th.answer(again, PIXELS), th.answer(thinned.model, PIXELS))
    assert len(vit.vit.layers) == 4


def test_contiguous_takes_neighbours(vit: Any) -> None:
    idle(idle(vit, 1), 2)
    silence(vit.vit.layers[0].mlp)
    thinned = th.thin(vit, [PIXELS], 2, way="contiguous", measure="angular")
    assert [name for name, _ in thinned.dropped] == ["vit.layers.1", "vit.layers.2"]


def test_cka_is_the_same_for_one_batch_and_its_measure_says_rotation_is_nothing() -> None:
    values = torch.randn(8, 5, 6, generator=torch.Generator().manual_seed(1))
    turn, _ = torch.linalg.qr(torch.randn(30, 30, generator=torch.Generator().manual_seed(2)))
    turned = (values.flatten(1) @ turn * 3).reshape(8, 5, 6)
    total = th._Total("cka")
    total.add(values, turned)
    assert total.value == pytest.approx(0, abs=1e-5)
    total = th._Total("angular")
    total.add(values, turned)
    assert total.value == pytest.approx(0.5, abs=0.15)  # a random rotation of 6 dimensions


def test_minibatches_estimate_what_one_batch_says(vit: Any) -> None:
    many = torch.rand(96, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    stacks = th.find(vit, PIXELS)
    whole = th.distances(vit, [many], stacks)
    parts = th.distances(vit, list(many.split(12)), stacks)
    for place, distance in whole.items():
        assert parts[place] == pytest.approx(distance, abs=0.1)


def test_what_is_saved_loads_with_the_plain_class(vit: Any, tmp_path: Path) -> None:
    thinned = th.thin(vit, [PIXELS], 2).model
    th.save(thinned, tmp_path, PIXELS)
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path).eval()
    assert again.config.num_hidden_layers == 2
    torch.testing.assert_close(th.answer(again, PIXELS), th.answer(thinned, PIXELS))


def test_clip_vision(tmp_path: Path) -> None:
    model = transformers.CLIPVisionModel(
        transformers.CLIPVisionConfig(**SIZES, num_hidden_layers=3)
    ).eval()
    thinned = th.thin(model, [PIXELS], 1, answer=embeds).model
    assert thinned.config.num_hidden_layers == 2
    th.save(thinned, tmp_path, PIXELS, embeds)
    with pytest.raises(UsageError, match="CLIPVisionModel: its output has no logits"):
        th.thin(model, [PIXELS], 1)


@pytest.mark.parametrize("name", ["Dinov2", "Beit"])
def test_models_that_name_their_layers_name_those_that_are_left(name: str, tmp_path: Path) -> None:
    config = getattr(transformers, f"{name}Config")(**SIZES, num_hidden_layers=3, num_labels=3)
    model = getattr(transformers, f"{name}ForImageClassification")(config).eval()
    thinned = th.thin(model, [PIXELS], 1).model
    assert thinned.config.out_features == ["stage2"]
    th.save(thinned, tmp_path, PIXELS)


def test_blip_is_thinned_in_vision_and_in_text_each_with_its_config(tmp_path: Path) -> None:
    vision = transformers.BlipVisionConfig(**SIZES, num_hidden_layers=3)
    text = transformers.BlipTextConfig(
        vocab_size=20, hidden_size=16, encoder_hidden_size=16, num_hidden_layers=4,
        num_attention_heads=2, intermediate_size=32, bos_token_id=1, eos_token_id=2, sep_token_id=2,
        pad_token_id=0,
    )  # fmt: skip
    config = transformers.BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    model = transformers.BlipForConditionalGeneration(config).eval()
    batch = {"pixel_values": PIXELS, "input_ids": torch.tensor([[1, 5, 6, 7]]).repeat(8, 1)}

    def last(model: Any, batch: Any) -> Any:
        return model(**batch).logits[:, -1]

    assert [stack.num_blocks for stack in th.find(model, batch, last)] == [3, 4]
    th.remove(model, "vision_model.encoder.layers", [1])
    th.remove(model, "text_decoder.bert.encoder.layer", [0, 2])
    assert model.config.vision_config.num_hidden_layers == 2
    assert model.config.text_config.num_hidden_layers == 2
    layers = model.text_decoder.bert.encoder.layer
    assert [layer.attention.self.layer_idx for layer in layers] == [0, 1]
    th.save(model, tmp_path, batch, last)
    # The cache of a decoder goes by the layers' numbers.
    made = model.generate(
        pixel_values=PIXELS[:1], max_new_tokens=3, min_new_tokens=3, do_sample=False
    )
    assert made.shape[1] >= 3


def test_a_causal_decoder_keeps_the_types_of_the_layers_that_stay(tmp_path: Path) -> None:
    config = transformers.Qwen2Config(
        vocab_size=20, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=32, use_sliding_window=True, sliding_window=2,
        max_window_layers=1,
    )  # fmt: skip
    model = transformers.Qwen2ForCausalLM(config).eval()
    assert config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]
    th.remove(model, "model.layers", [0])
    assert config.layer_types == ["sliding_attention", "sliding_attention"]
    batch = {"input_ids": torch.tensor([[1, 5, 6, 7]])}
    th.save(model, tmp_path, batch, lambda model, batch: model(**batch).logits[:, -1])


def test_a_residual_network_keeps_what_changes_shape(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[3, 2], layer_type="basic", num_labels=3
    )
    model = transformers.ResNetForImageClassification(config).eval()
    pixels = torch.rand(4, 3, 32, 32)
    stacks = th.find(model, pixels)
    assert stacks == [
        th.Stack("resnet.encoder.stages.0.layers", 3, ((0, 1, 2),)),
        th.Stack("resnet.encoder.stages.1.layers", 2, ((1,),)),
    ]
    thinned = th.thin(model, [pixels], 3).model
    assert sorted(thinned.config.depths) == [1, 1]
    th.save(thinned, tmp_path, pixels)


def test_a_stage_with_one_block_left_is_not_taken_apart() -> None:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[2, 3], layer_type="basic", num_labels=3
    )
    model = transformers.ResNetForImageClassification(config).eval()
    pixels = torch.rand(4, 3, 32, 32)
    thinned = th.thin(model, [pixels], 3, measure="angular")
    assert {name for name, _ in thinned.dropped} >= {
        "resnet.encoder.stages.1.layers.1", "resnet.encoder.stages.1.layers.2",
    }  # fmt: skip
    assert thinned.model.config.depths == [1, 1]
    with pytest.raises(UsageError, match="3 dropped, and no 1 more"):
        th.thin(model, [pixels], 4)


def test_runs_close_up_when_blocks_go() -> None:
    stack = th.Stack("layers", 8, ((1, 2, 3, 4), (6, 7)))
    assert th._shortened(stack, 2, 2) == th.Stack("layers", 6, ((1, 2), (4, 5)))
    assert th._shortened(th.Stack("layers", 2, ((1,),)), 1, 1) == th.Stack("layers", 1, ())


def test_swin_loads_again_when_an_even_number_of_neighbours_goes(tmp_path: Path) -> None:
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=16, depths=[4, 2], num_heads=[2, 2], window_size=4,
        num_labels=3, initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SwinForImageClassification(config).eval()
    pixels = torch.rand(4, 3, 32, 32)
    even = th.thin(model, [pixels], 2, way="contiguous").model
    th.save(even, tmp_path / "even", pixels)
    assert even.config.depths in ([2, 2], [4, 0])
    odd = th.copy.deepcopy(model)
    th.remove(odd, "swin.encoder.layers.0.blocks", [0])
    with pytest.raises(WeightsError, match="drop an even number"):
        th.save(odd, tmp_path / "odd", pixels)


def test_timm_networks_too() -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4).eval()
    pixels = torch.rand(4, 3, 32, 32)
    assert [(stack.name, stack.runs) for stack in th.find(model, pixels)] == [
        ("layer1", ((0, 1),)), ("layer2", ((1,),)), ("layer3", ((1,),)), ("layer4", ((1,),)),
    ]  # fmt: skip
    thinned = th.thin(model, [pixels], 2)
    assert len(thinned.dropped) == 2
    assert th.answer(thinned.model, pixels).shape == (4, 4)
    with pytest.raises(UsageError, match="no transformers model"):
        th.save(thinned.model, Path("x"), pixels)


class Beside(torch.nn.Module):
    """Two branches of the same input: none may go."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 4))) for _ in range(2)
        )

    def forward(self, values: Any) -> Any:
        return sum(branch(values) for branch in self.branches).mean(dim=1)


def test_blocks_side_by_side_are_no_row() -> None:
    assert th.find(Beside(), torch.rand(4, 3, 4)) == []
    with pytest.raises(UsageError, match="drop: 1 blocks, and Beside has no 1 in a row"):
        th.thin(Beside(), [torch.rand(4, 3, 4)], 1)


def test_too_much_to_drop_is_named(vit: Any) -> None:
    with pytest.raises(UsageError, match="3 dropped, and no 1 more in a row"):
        th.thin(vit, [PIXELS], 4)
    with pytest.raises(UsageError, match=r"drop: 4 blocks, and ViT\w+ has no 4 in a row"):
        th.thin(vit, [PIXELS], 4, way="contiguous")
    with pytest.raises(UsageError, match="drop: 0 blocks"):
        th.thin(vit, [PIXELS], 0)
    with pytest.raises(
        UsageError, match=r"a batch of 3 images, expected 4 or more for measure='cka'"
    ):
        th.thin(vit, [PIXELS[:3]], 1)


def test_comparison_counts_agreement_and_divergence() -> None:
    class Says(torch.nn.Module):
        def __init__(self, logits: Any) -> None:
            super().__init__()
            self.logits = torch.nn.Parameter(logits)

        def forward(self, batch: Any) -> Any:
            return self.logits

    probs = torch.tensor([[0.5, 0.5], [0.75, 0.25]])
    others = torch.tensor([[0.25, 0.75], [0.75, 0.25]])
    found = th.compare(Says(probs.log()), Says(others.log()), [PIXELS], rounds=2)
    # Row 0: its argmax is 0 by convention; KL .5 log 2 + .5 log(2/3). Row 1: the same.
    assert found["agreement"]["value"] == 0.5
    assert found["kl"] == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(2 / 3)) / 2, abs=1e-6)
    assert found["num_params"] == {"reference": 4, "candidate": 4}
    assert found["speedup"]["min"] <= found["speedup"]["median"] <= found["speedup"]["max"]


def test_fewer_layers_are_faster(vit: Any) -> None:
    class Slow(torch.nn.Module):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

        def forward(self, batch: Any) -> Any:
            th.time.sleep(self.seconds)
            return torch.zeros(1, 2)

    found = th.compare(Slow(0.06), Slow(0.02), [PIXELS], rounds=3)
    assert found["speedup"]["median"] == pytest.approx(3, rel=0.5)
