"""SafelightContextEncode with the text encoders of every family that the host has, at toy size."""

from __future__ import annotations

import functools
from typing import Any

import encoder_families
import host
import pytest
import torch
from encoder_families import FAMILIES, HERE
from toy_encoders import EncoderCalls, encoder_calls

from safelight.text.conditioning import Conditioning

PROMPTS = {
    "plain": "a photo of a person with a cat on a green table",
    "weighted": "(a cat:1.3) on a table",
    "long": "a small grey cat sleeps on a green table " * 47,
    "empty": "",
    "Chinese": "一只猫睡在绿色的桌子上",
    "Cyrillic": "кошка спит на зелёном столе",
    "emoji": "a cat 🐈 with flowers 💐",
    "line breaks": "a cat\non a table\n\nwith flowers",
    "missing embedding": "a cat embedding:missing on a table",
    "quotes": 'a sign that says "no dogs" and a cat',
}
WRITTEN = [name for name, text in PROMPTS.items() if text]
FEW_ANCHORS = {"benign": ["a cat", "a dog on a table"], "unsafe": ["a knife"]}
STACKED = [name for name in HERE if name.startswith(("Gemma 3 12B", "Gemma 4"))]  # states of every layer, one more axis

# What fails today, in the calibration. Who mends it takes the line away.
FAILS = {
    "ACE-Step 1.5": "the settings that the host has beside the tokens are lost: KeyError",
    "MiniMax Music 3": "the settings that the host has beside the tokens are lost: KeyError",
    "MiniMax H3": "the host gives every token the number of no word, and the mean of no states fails",
}
FAILS_WITHOUT_WORDS = {**FAILS, "Lens": "an empty prompt has no tokens at all, and the mean of no states fails"}


def but(names: list[str], failing: dict[str, str]) -> list[Any]:
    """The families as parameters of a test, those that fail marked."""
    marks = {name: pytest.mark.xfail(strict=True, reason=reason) for name, reason in failing.items()}
    return [pytest.param(name, marks=marks[name]) if name in marks else name for name in names]


class Encoder:
    """A family's CLIP, and what the host and the node make of PROMPTS with it."""

    def __init__(self, name: str, pack: Any) -> None:
        self.node = pack.nodes["SafelightContextEncode"]
        self.clip = FAMILIES[name].clip()
        self.clip.tokenizer.safelight_anchors = FEW_ANCHORS
        self.stock = functools.cache(self._stock)
        self.typed = functools.cache(self._typed)

    def _stock(self, prompt: str) -> Conditioning:
        """The host's own encoding."""
        return host.call(host.base_nodes.CLIPTextEncode, clip=self.clip, text=PROMPTS[prompt])[0]

    def _typed(self, prompt: str, safe_prompt: str) -> tuple[Conditioning, Conditioning]:
        """(positive, safe) of the node."""
        texts = {"prompt": PROMPTS[prompt], "safe_prompt": PROMPTS[safe_prompt]}
        return host.call(self.node, clip=self.clip, **texts, concepts="weapon", method="typed")[:2]

    def check(self, prompt: str, safe_prompt: str, which: int) -> None:
        """Positive (which 0) or safe (1) is the host's own encoding. A safe one that is not finite is refused."""
        expected = self.stock(prompt), self.stock(safe_prompt)
        if not is_finite(expected[1]):  # 0.3.64 with OmniGen2 and weights
            with pytest.raises(ValueError, match="^safe_prompt: expected finite"):
                self.typed(prompt, safe_prompt)
            return
        found = unmarked(self.typed(prompt, safe_prompt)[which])
        assert differences(found, expected[which]) == [], (prompt, safe_prompt)


@pytest.fixture(scope="module")
def encoder(request, pack):
    return Encoder(request.param, pack)


def unmarked(conditioning: Conditioning) -> Conditioning:
    """Without what the pack writes on a prompt."""
    return [
        [states, {key: value for key, value in extra.items() if not key.startswith("safelight")}]
        for states, extra in conditioning
    ]


def is_finite(conditioning: Conditioning) -> bool:
    return all(bool(torch.isfinite(states).all()) for states, _ in conditioning)


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two values of a CONDITIONING are not the same, bit for bit."""
    if type(one) is not type(other):
        return [f"{place}: {type(one).__name__}, {type(other).__name__}"]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        same = same and bool((one == other).logical_or((one != one) & (other != other)).all())  # NaN at the same places
        return [] if same else [f"{place}: other numbers"]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{place}: keys {sorted(one.keys() ^ other.keys())}"]
        return [text for key in one for text in differences(one[key], other[key], f"{place}[{key!r}]")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{place}: {len(one)}, {len(other)} entries"]
        return [text for i in range(len(one)) for text in differences(one[i], other[i], f"{place}[{i}]")]
    return [] if one == other else [f"{place}: {one!r}, {other!r}"]


def cost_of(clip: Any, run: Any, **inputs: Any) -> EncoderCalls:
    """What a node costs."""
    with encoder_calls(clip) as cost:
        host.call(run, clip=clip, **inputs)
    return cost


@pytest.mark.parametrize("encoder", but(HERE, FAILS), indirect=True)
def test_positive_is_the_hosts_encoding_with_every_family(encoder):
    for number, prompt in enumerate(WRITTEN):
        encoder.check(prompt, WRITTEN[number - 1], 0)


@pytest.mark.parametrize("encoder", but(HERE, FAILS), indirect=True)
def test_safe_is_the_hosts_encoding_of_the_safe_prompt_with_every_family(encoder):
    for number, prompt in enumerate(WRITTEN):
        encoder.check(prompt, WRITTEN[number - 1], 1)


@pytest.mark.parametrize("encoder", but(HERE, FAILS_WITHOUT_WORDS), indirect=True)
def test_an_empty_prompt_is_the_hosts_encoding_with_every_family(encoder):
    for which in (0, 1):
        encoder.check("empty", "plain", which)


@pytest.mark.xfail(strict=True, reason="the calibration encodes its phrases one by one before the first picture")
@pytest.mark.parametrize("name", [name for name in HERE if name not in STACKED])
def test_a_typed_prompt_costs_two_calls_of_a_new_encoder(pack, name):
    assert typed_calls(pack, name) == 2


def test_a_typed_prompt_costs_two_calls_where_states_are_no_list_of_tokens(pack):
    host.require(STACKED, "such text encoder")
    assert {typed_calls(pack, name) for name in STACKED} == {2}


def typed_calls(pack: Any, name: str) -> int:
    """How often a new CLIP of this family is asked for a typed prompt."""
    clip = FAMILIES[name].clip()
    clip.tokenizer.safelight_anchors = FEW_ANCHORS
    texts = {"prompt": PROMPTS["plain"], "safe_prompt": PROMPTS["quotes"]}
    return cost_of(clip, pack.nodes["SafelightContextEncode"], **texts, concepts="weapon", method="typed").calls


@pytest.mark.parametrize("encoder", HERE, indirect=True)
def test_the_hosts_own_node_costs_one_call_with_every_family(encoder):
    cost = cost_of(encoder.clip, host.base_nodes.CLIPTextEncode, text=PROMPTS["plain"])
    assert cost.calls == 1


def test_rows_are_counted_in_the_networks():
    """The host encodes the empty text beside a prompt with weights."""
    clip, encode = FAMILIES["SDXL"].clip(), host.base_nodes.CLIPTextEncode
    assert cost_of(clip, encode, text="a cat").rows == {"clip_l": 77, "clip_g": 77}
    assert cost_of(clip, encode, text="a (cat:1.3)").rows == {"clip_l": 154, "clip_g": 154}


def test_the_long_prompt_fills_six_chunks():
    assert len(FAMILIES["SD1.5"].clip().tokenize(PROMPTS["long"])["l"]) == 6


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_hosts_encoder_of_this_family_tells_prompts_apart(pack, name):
    """With toy weights too, and its further texts are among what is compared above."""
    lacking = encoder_families.lacking(name)
    host.require(not lacking, lacking)
    encoder = Encoder(name, pack)
    plain, quotes = encoder.stock("plain"), encoder.stock("quotes")
    assert is_finite(plain) and differences(plain, quotes)
    assert set(FAMILIES[name].side) <= set(quotes[0][1])


def test_no_family_of_the_host_is_left_out():
    named = set().union(*map(encoder_families.target_of, HERE))
    left_out = encoder_families.targets_of_the_host() - named - encoder_families.BASES - encoder_families.NO_CLIP
    modules = {name.split(".")[0] for name in named} | encoder_families.HELPERS
    left_out |= {f"comfy/text_encoders/{name}.py" for name in encoder_families.modules_of_the_host() - modules}
    assert left_out == set(), "give them a line in encoder_families.FAMILIES"


def test_a_host_that_has_every_family_finds_them_all():
    """Or a misspelt name would leave a family out everywhere."""
    newest = not host.IS_INDEX_BUILD and tuple(map(int, host.VERSION.split(".")[:2])) >= (0, 33)
    host.require(newest, "text encoders of 2026")
    assert [name for name in FAMILIES if encoder_families.lacking(name)] == []
