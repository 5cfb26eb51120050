"""SafelightPrompt before the host's text nodes that take pictures: both its texts go to such a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import encoder_families
import host
import pytest
import torch
from encoder_families import FAMILIES
from toy_encoders import LLM

from safelight.text.conditioning import Conditioning

PROMPT, STAND_INS = "make the cat hold a knife on the green table", "knife = dog"  # one token each
PICTURE, OTHER_PICTURE = torch.rand(2, 1, 96, 64, 3, generator=torch.Generator().manual_seed(5)).unbind()


@dataclass(frozen=True)
class EditNode:
    """module: of comfy_extras. family: of its text encoder. pictures: its inputs for a picture of the artist's.

    deep: of how many further layers its network for pictures gives rows; None for one without.
    """

    module: str
    family: str
    pictures: Callable[[torch.Tensor], dict[str, Any]]
    deep: int | None = None


class Vae:
    """Every 8 x 8 pixels are one."""

    @staticmethod
    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)


class Sight(torch.nn.Module):
    """In place of an encoder's network for pictures, which has no part in texts: a row for each four patches."""

    def __init__(self, deep: int | None) -> None:
        super().__init__()
        self.deep = deep

    def forward(self, patches: torch.Tensor, grid: torch.Tensor) -> Any:
        rows = patches.unflatten(0, (-1, 4)).mean(dim=1)[:, :LLM].contiguous()
        return rows if self.deep is None else (rows, [rows * 0.1] * self.deep)


def seen(picture: torch.Tensor) -> SimpleNamespace:
    """What CLIP Vision gives of a picture: one row a column of pixels."""
    rows = picture[..., :1].mean(dim=1).expand(-1, -1, LLM)
    return SimpleNamespace(mm_projected=rows.contiguous(), penultimate_hidden_states=rows)


class ClipVision:
    encode_image = staticmethod(seen)


PLACES = {"reference_latents", "minimax_keyframes"}  # of what the VAE makes of a picture
MINIMAX = {"width": 64, "height": 96, "length": 5}
NODES = {
    "TextEncodeQwenImageEdit": EditNode("nodes_qwen", "Qwen-Image", lambda picture: {"vae": Vae(), "image": picture}),
    "TextEncodeQwenImageEditPlus": EditNode(
        "nodes_qwen", "Qwen-Image", lambda picture: {"vae": Vae(), "image1": picture, "image3": OTHER_PICTURE}
    ),
    "TextEncodeJoyImageEdit": EditNode(
        "nodes_joyimage", "JoyImage", lambda picture: {"vae": Vae(), "images": {"image0": picture}}, 3
    ),
    "TextEncodeBooguEdit": EditNode(
        "nodes_boogu",
        "Boogu",
        lambda picture: {"vae": Vae(), "negative_prompt": "", "images": {"image_1": picture}},
        3,
    ),
    "TextEncodeMageFlowEdit": EditNode(
        "nodes_mage", "Mage-Flow", lambda picture: {"vae": Vae(), "images": {"image_1": picture}}, 3
    ),
    "TextEncodeZImageOmni": EditNode(
        "nodes_zimage", "Z-Image", lambda picture: {"vae": Vae(), "image_encoder": ClipVision(), "image1": picture}
    ),
    "TextEncodeHunyuanVideo_ImageToVideo": EditNode(
        "nodes_hunyuan",
        "Hunyuan Video",
        lambda picture: {"clip_vision_output": seen(picture), "image_interleave": 2},
    ),
    "MiniMaxH3ImageToVideo": EditNode(
        "nodes_minimax_h3", "MiniMax H3", lambda picture: {"vae": Vae(), "first_frame": picture, **MINIMAX}, 3
    ),
}


class Encoder:
    """An edit node with its text encoder."""

    def __init__(self, name: str) -> None:
        self.edit = NODES[name]
        self.node = host.extra_node(self.edit.module, name)
        lacking = encoder_families.lacking(self.edit.family)
        host.require(not lacking, lacking)
        self.clip = FAMILIES[self.edit.family].clip()
        for part in self.clip.cond_stage_model.modules():
            if "transformer" in part._modules:
                part.transformer.visual = Sight(self.edit.deep)

    def __call__(self, prompt: str, picture: torch.Tensor = PICTURE) -> Conditioning:
        return host.call(self.node, clip=self.clip, prompt=prompt, **self.edit.pictures(picture))[0]


@pytest.fixture(params=list(NODES))
def encode(request):
    return Encoder(request.param)


@pytest.fixture
def texts(pack):
    """(prompt, safe prompt) of the node."""
    made = host.call(pack.nodes["SafelightPrompt"], prompt=PROMPT, concepts="weapon", stand_ins=STAND_INS)
    assert made[:2] == (PROMPT, PROMPT.replace("knife", "dog")) and made[3] == "knife"
    return made[:2]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (dict, SimpleNamespace)):
        one, other = (each if isinstance(each, dict) else vars(each) for each in (one, other))
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def test_positive_and_safe_of_a_node_with_pictures_differ_by_their_words_alone(encode, texts):
    positive, safe = map(encode, texts)
    assert len(positive) == len(safe) == 1
    (states, extra), (others, other_extra) = positive[0], safe[0]
    assert states.shape == others.shape and extra.keys() == other_extra.keys()
    assert all(same(extra[key], other_extra[key]) for key in extra if key != "pooled_output")
    assert PLACES & extra.keys() or "vae" not in encode.edit.pictures(PICTURE)
    elsewhere, elsewhere_extra = encode(texts[0], OTHER_PICTURE)[0]  # the same words beside another picture
    if same(states, elsewhere):  # the picture is not among the words
        assert not same(extra, elsewhere_extra)
    else:  # it is, in front of them, and the rows before the first other word are the same
        assert first_difference(states, elsewhere) < first_difference(states, others)


def first_difference(states: torch.Tensor, others: torch.Tensor) -> int:
    return int((states != others).any(dim=-1)[0].nonzero()[0])
