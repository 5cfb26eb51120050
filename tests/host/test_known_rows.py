"""What changes single rows of a prompt takes the text encoders alone whose rows are known to be single words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from encoder_families import FAMILIES, HERE
from toy_encoders import encoder_calls

from safelight.engine import kept_spaces
from safelight.text.inherit import ROWS

KNOWN = {  # CLIP, and encoders that read a text both ways with one row a token
    *("SD1.5", "SD1.5 with LongCLIP", "SD2", "SDXL", "SDXL refiner", "Stable Cascade"),
    *("SD3.5", "SD3.5 without T5", "SD3.5 with T5 alone", "Flux.1"),
    *("AuraFlow", "PixArt, Chroma", "Mochi", "CogVideoX", "LTXV", "Cosmos", "Wan", "Stable Audio", "Stable Audio 3"),
    "Jina CLIP 2",
}
TEMPLATE = "puts the prompt in a template"
FURTHER = "gives its network further texts"
BECAUSE = {
    **dict.fromkeys(("Qwen-Image", "Z-Image", "Hunyuan Video", "Hunyuan Image", "OmniGen2", "Kandinsky 5"), TEMPLATE),
    **dict.fromkeys(("Flux.2 dev", "Flux.2 klein 4B", "Krea 2", "Ovis-Image", "Ideogram 4", "LongCat-Image"), TEMPLATE),
    **dict.fromkeys(("HiDream I1", "HiDream O1", "Anima", "Hunyuan DiT", "ACE-Step", "SAM 3"), FURTHER),
    **dict.fromkeys(("Lumina 2", "Ernie-Image", "NewBie"), "reads on from word to word"),
}
PROMPT, CONCEPTS = "a cat with a knife on a table", "weapon"
KEPT = "\n".join(
    f"a {color} cat on a table"
    for color in ("red", "green", "blue", "black", "white", "grey", "brown", "small", "big", "old")
)


def context_encode(method: str) -> Callable[[Any, Any], Any]:
    def run(nodes: Any, clip: Any) -> Any:
        inputs = {"prompt": PROMPT, "concepts": CONCEPTS, "method": method}
        return nodes["SafelightContextEncode"]().encode(clip=clip, **inputs)["result"]

    return run


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "the method 'project'": context_encode("project"),
    "the method 'subtract'": context_encode("subtract"),
    "SAFREE": lambda nodes, clip: nodes["SafelightSAFREEGuider"]().setup(
        clip, strength=1.0, prompt=PROMPT, concepts=CONCEPTS
    ),
    "a redaction": lambda nodes, clip: nodes["SafelightRedact"]().redact(clip, "a knife", "a cat", KEPT, "ridge"),
    "a concept vector": lambda nodes, clip: nodes["SafelightConceptVector"]().make(clip, "a knife", "a cat"),
    "Semantic Surgery": lambda nodes, clip: nodes["SafelightSemanticSurgery"]().encode(clip, PROMPT, CONCEPTS),
    "Safelight Encoder Risk": lambda nodes, clip: nodes["SafelightEncoderRisk"]().measure(clip, PROMPT, CONCEPTS),
}


WIDE = "SD3.5"  # its states are 4,096 wide at toy size too, which a redaction takes half a minute for


@pytest.mark.parametrize("name", HERE)
def test_rows_are_changed_where_they_are_known_and_refused_by_name_elsewhere(pack, name):
    """A refusal costs two calls of a new encoder at most, and then none."""
    clip = FAMILIES[name].clip()
    clip.tokenizer.safelight_anchors = {"benign": ["a cat", "a dog on a table"], "unsafe": ["a knife"]}
    calls = 0
    for way, run in WAYS.items():
        if name in KNOWN:
            outcome = None if (name, way) == (WIDE, "a redaction") else run(pack.nodes, clip)
            if "method" in way:
                check(*outcome[:2])
            continue
        with encoder_calls(clip) as cost, pytest.raises(ValueError) as refused:
            run(pack.nodes, clip)
        calls += cost.calls
        wanted = f"clip: expected a text encoder whose rows are single words (CLIP, T5) for {way}, got one that "
        assert str(refused.value).startswith(wanted + BECAUSE.get(name, ""))
    assert calls <= 2


def check(positive: list, safe: list) -> None:
    """Another text in the same form."""
    for (states, extra), (others, other_extra) in zip(positive, safe, strict=True):
        assert others.shape == states.shape and torch.isfinite(others).all() and not torch.equal(others, states)
        assert extra.keys() == other_extra.keys() - {ROWS}


def test_a_calibration_on_disk_belongs_to_one_family_though_others_have_the_same_weights():
    """CLIP-L and CLIP-G of SDXL and of SD3.5, and T5 with and without padding."""
    names = [name for name in HERE if name in KNOWN]
    prints = set()
    for name in names:
        clip = FAMILIES[name].clip()
        weights = kept_spaces.weights_print(clip)
        assert weights is not None
        prints.add(kept_spaces.fingerprint(clip, weights, ["a cat"], ["a knife"]))
    assert len(prints) == len(names)
