"""SafelightEditCheck in the host: nothing changed gives exactly 1, and edits of encoders and models show."""

from __future__ import annotations

import host
import pytest
import tiny_encoders
import torch
from tiny_models import sd3_model, sdxl_model

from safelight.edits import spread
from safelight.engine import edit_check, edit_targets, redacted_clip
from safelight.engine import host as safelight_host
from safelight.text.harmless_texts import harmless_texts

TEXTS = "\n".join(
    f"a {thing} {place}"
    for thing in ("cat", "dog", "red car", "tall tree", "boat")
    for place in ("on a table", "at night", "in a garden", "by the sea")
)


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture
def check(pack, clip):
    def checked(**inputs):
        return host.call(pack.nodes["SafelightEditCheck"], **{"clip": clip, "texts": TEXTS, **inputs})

    return checked


class Collapse:
    """A map that gives every token of its kind the same state."""

    def __init__(self, width):
        self.width = width

    def apply(self, states, kinds):
        return torch.ones_like(states)

    def tensors(self):
        return {}


def test_what_has_not_changed_gives_exactly_one(check, clip, eps):
    for inputs in ({"edited_clip": clip.clone()}, {"model": eps, "edited_model": eps.clone()}):
        report, ratio, overlap = check(**inputs)
        assert (ratio, overlap) == (1.0, 1.0) and "Changed most" not in report


def test_an_encoder_that_reads_all_texts_alike_has_no_spread(check, clip):
    encoder, _ = redacted_clip.chunks_of(clip, "")
    maps = {block: Collapse(width) for block, width in encoder.widths().items()}
    report, ratio, overlap = check(edited_clip=redacted_clip.redacted(clip, encoder, maps, 1.0))
    assert ratio == pytest.approx(0.0, abs=1e-6) and overlap < 1.0
    half = check(edited_clip=redacted_clip.redacted(clip, encoder, maps, 0.5))
    assert 0.0 < half[1] < 1.0 and half[2] <= 1.0
    assert "Changed most" in report and "no longer near" in report


def test_a_redaction_shows(pack, check, clip):
    inputs = {"redact": "a cat", "reference": "a dog", "keep": TEXTS, "form": "ridge"}
    done = host.call(pack.nodes["SafelightRedact"], clip=clip, **inputs)[0]
    _, ratio, overlap = check(edited_clip=done)
    assert ratio != 1.0 and 0.0 < overlap < 1.0


def test_an_erased_model_shows_in_what_its_cross_attentions_hand_on(pack, check, clip, eps):
    erase = pack.nodes["SafelightErase"]
    erased = host.call(erase, model=eps, clip=clip, erase="a cat, a dog, night", preserve="a boat")[0]
    _, ratio, overlap = check(model=eps, edited_model=erased)
    assert ratio != 1.0 and 0.0 < overlap < 1.0
    # By hand: the value projections with the host's patches on them.
    keys = [key for key in edit_targets.targets_of(eps).keys["text"] if key.endswith(edit_check.VALUES)]
    encodings = [edit_check.encode_neutral(clip, text) for text in TEXTS.splitlines()]
    spreads = []
    for model in (eps, erased):
        total = torch.zeros(20, 20, dtype=torch.float64)
        for _, weight in safelight_host.patched_weights(model, keys):
            vectors = [spread.text_vector(e.states[0] @ weight.T, e.content, e.tail) for e in encodings]
            total += spread.cosines(torch.stack(vectors).double()) / len(keys)
        spreads.append(float(spread.spread(total)))
    assert ratio == pytest.approx(spreads[1] / spreads[0], rel=1e-4)
    assert check(model=eps, edited_model=eps)[1:] == (1.0, 1.0)  # the plain model is itself again


def test_adavds_patch_of_the_values_shows(pack, check, clip, eps):
    taken = host.call(pack.nodes["SafelightAdaVD"], model=eps, clip=clip, concepts="a cat")[0]
    _, ratio, overlap = check(model=eps, edited_model=taken)
    assert ratio != 1.0 and overlap < 1.0


def test_an_edited_encoder_is_seen_through_the_model(pack, check, clip, eps):
    inputs = {"redact": "a cat", "reference": "a dog", "keep": TEXTS, "form": "ridge"}
    done = host.call(pack.nodes["SafelightRedact"], clip=clip, **inputs)[0]
    through = check(edited_clip=done, model=eps)
    assert through[1] != 1.0 and through[1:] != check(edited_clip=done)[1:]


def test_a_model_that_embeds_its_text_once_is_checked_there(pack, check, clip):
    """SD3 has no value projections of a text."""
    model = sd3_model()
    erased = host.call(pack.nodes["SafelightErase"], model=model, clip=clip, erase="a cat, night", preserve="a boat")[0]
    _, ratio, overlap = check(model=model, edited_model=erased)
    assert ratio != 1.0 and overlap < 1.0
    assert check(model=model, edited_model=model)[1:] == (1.0, 1.0)


def test_without_texts_of_ones_own_they_are_those_that_the_encoder_knows(pack):
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    report, *figures = host.call(pack.nodes["SafelightEditCheck"], clip=clip, edited_clip=clip)
    texts = harmless_texts(clip.tokenizer.safelight_knows)
    assert figures == [1.0, 1.0] and report.startswith(f"{len(texts)} texts, 15 neighbours")
    assert len(texts) > 40 and not set(texts) & set(clip.tokenizer.safelight_anchors["benign"])


def test_every_kind_of_encoder_can_be_checked(pack):
    for form in tiny_encoders.FORMS:
        clip = tiny_encoders.clip(form)
        result = host.call(pack.nodes["SafelightEditCheck"], clip=clip, texts=TEXTS, edited_clip=clip)
        assert result[1:] == (1.0, 1.0)


def test_what_cannot_be_checked_is_an_error_that_names_the_input(check, clip, eps):
    for inputs, named in (
        ({}, "edited_clip"),
        ({"model": eps}, "edited_clip"),
        ({"edited_model": eps}, "model"),
        ({"clip": None, "edited_clip": clip}, "clip"),
        ({"texts": "a cat\na dog\na cat", "edited_clip": clip}, "texts"),
        ({"texts": 7, "edited_clip": clip}, "texts"),
        ({"model": sdxl_model(48, 16), "edited_model": sdxl_model(48, 16)}, "model"),
    ):
        with pytest.raises(ValueError, match=f"^{named}:"):
            check(**inputs)
