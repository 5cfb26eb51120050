"""Forms of text encoders whose rows are known to be single words, and forms whose rows are not, on every host."""

from __future__ import annotations

from typing import Any

import comfy.sd1_clip
import host
import pytest
import tiny_encoders
import torch
from planted_words import CONCEPTS, KNOWN_FORMS, PROMPT, counted, patched, same, stock, with_few_anchors

from safelight.engine import known_rows, redact, safree_prompt
from safelight.engine.encoder import encode_prompt
from safelight.text.inherit import SIDE_TEXTS


class Template(comfy.sd1_clip.SD1Tokenizer):
    """Puts every text in a sentence."""

    def tokenize_with_weights(self, text: str, *args: Any, **kwargs: Any) -> Any:
        return super().tokenize_with_weights(f"describe this picture: {text}, please", *args, **kwargs)


class ReadsOn(torch.nn.Module):
    """A network that is causal as CLIP's is, and none of CLIP's: what a language model is."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.num_layers = network.num_layers

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.network.get_input_embeddings()

    def set_input_embeddings(self, embeddings: torch.nn.Module) -> None:
        self.network.set_input_embeddings(embeddings)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.network(*args, **kwargs)


class LanguageModel(tiny_encoders.SD1):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.clip_l.transformer = ReadsOn(self.clip_l.transformer)


class Backwards(tiny_encoders.SD1):
    """Gives its rows from the last to the first."""

    def encode_token_weights(self, tokens: dict) -> tuple:
        states, pooled = super().encode_token_weights(tokens)[:2]
        return states.flip(1), pooled


class Stacked(tiny_encoders.SD1):
    """Gives the states of several layers, one more axis."""

    def encode_token_weights(self, tokens: dict) -> tuple:
        states, pooled = super().encode_token_weights(tokens)[:2]
        return torch.stack([states, states], dim=1), pooled


REFUSED = {
    "cut": tiny_encoders.FORMS["cut"],
    "nameless": tiny_encoders.FORMS["nameless"],
    "template": (tiny_encoders.SD1, Template),
    "language model": (LanguageModel, comfy.sd1_clip.SD1Tokenizer),
    "backwards": (Backwards, comfy.sd1_clip.SD1Tokenizer),
    "stacked": (Stacked, comfy.sd1_clip.SD1Tokenizer),
}


def refused_clip(kind: str) -> Any:
    return with_few_anchors(tiny_encoders.clip_of(*REFUSED[kind]))


@pytest.mark.parametrize("form", KNOWN_FORMS)
def test_the_rows_of_clip_and_t5_are_known(form):
    assert known_rows.why_unknown(tiny_encoders.clip(form)) == ""


@pytest.mark.parametrize("kind", list(REFUSED))
def test_other_rows_are_not_known(kind):
    assert known_rows.why_unknown(refused_clip(kind))


WHAT = {
    "project": ("SafelightContextEncode", {"prompt": PROMPT, "concepts": CONCEPTS, "method": "project"}),
    "subtract": ("SafelightContextEncode", {"prompt": PROMPT, "concepts": CONCEPTS, "method": "subtract"}),
    "Semantic Surgery": ("SafelightSemanticSurgery", {"prompt": PROMPT, "concepts": CONCEPTS}),
    "Encoder Risk": ("SafelightEncoderRisk", {"prompt": PROMPT, "concepts": CONCEPTS}),
    "Latent Guard": ("SafelightLatentGuard", {"concepts": CONCEPTS}),
    "concept vector": ("SafelightConceptVector", {"unsafe_prompts": "a knife", "safe_prompts": "a spoon"}),
}


@pytest.mark.parametrize("kind", list(REFUSED))
@pytest.mark.parametrize("what", list(WHAT))
def test_nodes_that_change_rows_name_what_they_need_and_say_what_to_do(pack, kind, what):
    node, inputs = WHAT[what]
    clip = refused_clip(kind)
    with pytest.raises(ValueError) as error:
        host.call(pack.nodes[node], clip=clip, **inputs)
    text = str(error.value)
    assert text.startswith("clip: expected a text encoder whose rows are single words (CLIP, T5) for ")
    assert what in text and known_rows.why_unknown(clip) in text
    assert any(way in text for way in ("rewrite", "Safelight Prompt", "Safelight Context Encode"))


@pytest.mark.parametrize("kind", list(REFUSED))
def test_safree_and_redactions_ask_for_known_rows_too(kind):
    with pytest.raises(ValueError, match="^clip: expected a text encoder whose rows are single words .* for SAFREE"):
        safree_prompt.encode_safe(refused_clip(kind), PROMPT, CONCEPTS, "as released")
    with pytest.raises(ValueError, match="^clip: expected a text encoder whose rows are single words .*redaction"):
        redact.make_redaction(refused_clip(kind), "knife", "spoon", "", redact.FORMS[0], 10, 0)


@pytest.mark.parametrize("kind", list(REFUSED))
def test_texts_are_rewritten_for_every_encoder(pack, kind):
    clip = refused_clip(kind)
    with counted(clip) as calls:
        positive, safe, *_ = host.call(
            pack.nodes["SafelightContextEncode"], clip=clip, prompt=PROMPT, concepts=CONCEPTS, method="auto"
        )
    assert len(calls) == 2 and same(positive, stock(clip, PROMPT))
    assert same(safe, stock(clip, PROMPT.replace("knife", "spoon")))


def test_an_encoder_is_asked_once():
    for clip in (tiny_encoders.clip("SD1"), refused_clip("language model")):
        with counted(clip) as calls:
            first = known_rows.why_unknown(clip)
        assert len(calls) == 2
        with counted(clip) as calls:
            assert known_rows.why_unknown(clip) == known_rows.why_unknown(clip.clone()) == first
            assert known_rows.why_unknown(patched(clip, 1) if not first else clip) == first
        assert calls == []


def test_what_the_host_gives_beside_the_states_is_refused_where_it_is_a_text(monkeypatch):
    def with_extra(key: str) -> str:
        def encode(clip: Any, text: str) -> list:
            return [[states, {**extra, key: states}] for states, extra in encode_prompt(clip, text)]

        monkeypatch.setattr(known_rows, "encode_prompt", encode)
        return known_rows.why_unknown(tiny_encoders.clip("SD1"))

    for key in SIDE_TEXTS:
        assert key in with_extra(key)
    for key in ("attention_mask", "width", "guidance"):
        assert with_extra(key) == ""
