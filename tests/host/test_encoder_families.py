"""SafelightContextEncode with the text encoders of every family that the host has, at toy size."""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import encoder_families
import host
import pytest
import torch
from encoder_families import FAMILIES, HERE
from toy_encoders import EncoderCalls, encoder_calls

from safelight.engine import context_encode
from safelight.text.conditioning import Conditioning
from safelight.text.inherit import HARMLESS, ROWS

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
WRITTEN = [text for text in PROMPTS.values() if text]
TYPED = list(zip(WRITTEN, WRITTEN[-1:] + WRITTEN[:-1], strict=True))  # each with another one as its safe prompt
FOREIGN = [PROMPTS["Chinese"], PROMPTS["Cyrillic"]]
HARMLESS_PROMPTS = [text for text in PROMPTS.values() if text not in FOREIGN]
UNSAFE = {  # and what the safe prompt has in the place of what is unsafe
    "a (cat:1.3) with a (knife:1.2) on a (green table:0.8)": "a (spoon:1.2) on",
    "a cat embedding:missing and a knife on a table": "embedding:missing and a spoon",
    "a small grey cat sleeps on a green table " * 46 + "beside a knife": "table beside a spoon",
    "a cat\non a table\n\nwith a gun\nand flowers": "\n\nwith a camera\nand",
    "a cat 🐈 with a knife and flowers 💐": "🐈 with a spoon and flowers 💐",
}
CUTS_OFF = {"Lens", "PixelDiT"}  # the host cuts long prompts off, here before what is unsafe


@dataclass(frozen=True)
class Encoded:
    """What the node makes of a prompt. text: its safe prompt. cost: of the encoder."""

    positive: Conditioning
    safe: Conditioning
    text: str
    cost: EncoderCalls


class Encoder:
    """A family's CLIP, and what the host and the node make of texts with it, each made once."""

    def __init__(self, name: str, pack: Any) -> None:
        self.name, self.node = name, pack.nodes["SafelightContextEncode"]
        self.clip = FAMILIES[name].clip()
        self.stock = functools.cache(self._stock)
        self.encode = functools.cache(self._encode)

    def _stock(self, text: str) -> tuple[Conditioning, EncoderCalls]:
        """The host's own encoding, and its cost."""
        with encoder_calls(self.clip) as cost:
            conditioning = host.call(host.base_nodes.CLIPTextEncode, clip=self.clip, text=text)[0]
        return conditioning, cost

    def _encode(self, prompt: str, safe_prompt: str = "") -> Encoded | None:
        """None where the node refuses a safe prompt whose states are not finite: OmniGen2 of 0.3.64, with weights."""
        method = "typed" if safe_prompt else "rewrite"
        texts = {"prompt": prompt, "safe_prompt": safe_prompt, "concepts": "weapon"}
        try:
            with encoder_calls(self.clip) as cost:
                outcome = self.node().encode(clip=self.clip, **texts, method=method)
        except ValueError as error:
            assert str(error).startswith("safe_prompt: expected finite")
            safe_prompt = safe_prompt or context_encode.make_safe_prompt(prompt, "", "weapon", "").text
            assert not is_finite(self.stock(safe_prompt)[0])
            return None
        verdict = json.loads(outcome["ui"]["safelight_verdict"][0])
        assert verdict["method"] == method
        return Encoded(*outcome["result"][:2], verdict["safe_prompt"], cost)

    def encoded(self, pairs: list[tuple[str, str]]) -> list[tuple[str, Encoded]]:
        """Each prompt with what the node makes of it. pairs: (prompt, typed safe prompt)."""
        made = [(prompt, self.encode(prompt, safe_prompt)) for prompt, safe_prompt in pairs]
        assert sum(one is not None for _, one in made) >= len(pairs) - 2
        return [(prompt, one) for prompt, one in made if one is not None]

    def check_positive(self, pairs: list[tuple[str, str]]) -> None:
        for prompt, made in self.encoded(pairs):
            assert differences(unmarked(made.positive), self.stock(prompt)[0]) == [], prompt

    def check_safe(self, pairs: list[tuple[str, str]]) -> None:
        for prompt, made in self.encoded(pairs):
            assert differences(unmarked(made.safe), self.stock(made.text)[0]) == [], prompt

    def check_cost(self, pairs: list[tuple[str, str]]) -> None:
        """That of the host's encodings of prompt and safe prompt."""
        for prompt, made in self.encoded(pairs):
            one, other = self.stock(prompt)[1], self.stock(made.text)[1]
            assert made.cost.calls == one.calls + other.calls == 2, prompt
            assert made.cost.rows == Counter(one.rows) + Counter(other.rows), prompt


@pytest.fixture(scope="module", autouse=True)
def texts_are_read_once():
    """What the reader and the rewriter make of a text is the same with every family."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context_encode, "make_safe_prompt", functools.cache(context_encode.make_safe_prompt))
        yield


@pytest.fixture(scope="module")
def encoder(request, pack):
    return Encoder(request.param, pack)


with_every_family = pytest.mark.parametrize("encoder", HERE, indirect=True)


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


@with_every_family
def test_positive_is_the_hosts_encoding_with_every_family(encoder):
    encoder.check_positive(TYPED)


@with_every_family
def test_safe_is_the_hosts_encoding_of_the_safe_prompt_with_every_family(encoder):
    encoder.check_safe(TYPED)


@with_every_family
def test_an_empty_prompt_is_the_hosts_encoding_with_every_family(encoder):
    encoder.check_positive([("", PROMPTS["plain"])])
    encoder.check_safe([("", PROMPTS["plain"])])


@with_every_family
def test_a_typed_prompt_costs_the_hosts_two_calls_with_every_family(encoder):
    encoder.check_cost([*TYPED, ("", PROMPTS["plain"])])


@with_every_family
def test_positive_of_a_rewritten_prompt_is_the_hosts_encoding_with_every_family(encoder):
    encoder.check_positive([(prompt, "") for prompt in UNSAFE])


@with_every_family
def test_safe_is_the_hosts_encoding_of_the_rewritten_prompt_with_every_family(encoder):
    encoder.check_safe([(prompt, "") for prompt in UNSAFE])
    for prompt, made in encoder.encoded([(prompt, "") for prompt in UNSAFE]):
        assert UNSAFE[prompt] in made.text
        assert HARMLESS not in made.safe[0][1]
        is_read = bool(differences(made.safe, made.positive))
        assert is_read != (encoder.name in CUTS_OFF and prompt == max(UNSAFE, key=len)), prompt


@with_every_family
def test_a_rewritten_prompt_costs_the_hosts_two_calls_with_every_family(encoder):
    encoder.check_cost([(prompt, "") for prompt in UNSAFE])


@with_every_family
def test_a_prompt_with_nothing_unsafe_in_it_is_its_own_safe_one_for_one_call_with_every_family(encoder):
    for prompt, made in encoder.encoded([(prompt, "") for prompt in HARMLESS_PROMPTS]):
        stock, cost = encoder.stock(prompt)
        assert made.text == prompt and made.cost == cost and cost.calls == 1, prompt
        assert differences(unmarked(made.positive), stock) == [], prompt
        assert differences(unmarked(made.safe), stock) == [], prompt
        assert all(extra[HARMLESS] for _, extra in made.safe), prompt


@with_every_family
def test_a_prompt_that_cant_be_read_needs_a_typed_safe_prompt_with_every_family(encoder):
    for prompt in FOREIGN:
        with encoder_calls(encoder.clip) as cost, pytest.raises(ValueError, match="^prompt: expected English"):
            encoder.node().encode(clip=encoder.clip, prompt=prompt)
        assert cost.calls == 0
        made = encoder.node().encode(clip=encoder.clip, prompt=prompt, safe_prompt=PROMPTS["plain"])
        positive, safe, risk, _ = made["result"]
        assert differences(positive, encoder.stock(prompt)[0]) == [] and risk == 1.0
        for entry in safe:
            entry[1].pop(ROWS, None)  # which row stands for which of the prompt's; no stock prompt says that
        assert differences(safe, encoder.stock(PROMPTS["plain"])[0]) == []


@with_every_family
def test_the_hosts_own_node_costs_one_call_with_every_family(encoder):
    assert encoder.stock(PROMPTS["plain"])[1].calls == 1


def cost_of(clip: Any, text: str) -> EncoderCalls:
    """What the host's own node costs."""
    with encoder_calls(clip) as cost:
        host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)
    return cost


def test_rows_are_counted_in_the_networks():
    """The host encodes the empty text beside a prompt with weights."""
    clip = FAMILIES["SDXL"].clip()
    assert cost_of(clip, "a cat").rows == {"clip_l": 77, "clip_g": 77}
    assert cost_of(clip, "a (cat:1.3)").rows == {"clip_l": 154, "clip_g": 154}


@pytest.mark.parametrize("prompt", [max(PROMPTS.values(), key=len), max(UNSAFE, key=len)], ids=["harmless", "unsafe"])
def test_the_long_prompts_fill_six_chunks(prompt):
    assert len(FAMILIES["SD1.5"].clip().tokenize(prompt)["l"]) == 6


@pytest.mark.parametrize("name", list(FAMILIES))
def test_the_hosts_encoder_of_this_family_tells_prompts_apart(pack, name):
    """With toy weights too, and its further texts are among what is compared above."""
    lacking = encoder_families.lacking(name)
    host.require(not lacking, lacking)
    encoder = Encoder(name, pack)
    plain, quotes = (encoder.stock(PROMPTS[prompt])[0] for prompt in ("plain", "quotes"))
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
