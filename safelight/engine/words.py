"""The eye's words on the host: safe prompts for what was found in a picture, as its text encoder gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_numbers, check_texts
from safelight.detect.combined import TEXT
from safelight.detect.least_level import PLAIN, Ascent
from safelight.detect.look import Look
from safelight.engine.encoder import check_clip, encode_prompt, word_test
from safelight.text.added_words import AddedWords
from safelight.text.conditioning import Conditioning, as_branch, check_width
from safelight.text.inherit import same_prompt

if TYPE_CHECKING:
    from comfy.sd import CLIP


class Words:
    """Encodes safe prompts for what was found, each once."""

    def __init__(self, clip: CLIP, texts: AddedWords) -> None:
        self.texts = texts
        self._clip = clip
        self._encoded: dict[str, Conditioning] = {}

    def after(self, way: Ascent, harmless: bool) -> str:
        """The safe prompt for a picture's next run, after a look that found something; "" for the linked one.

        harmless: whether the linked one is the prompt as written. Where it is not, it is tried first.
        """
        if way.level == PLAIN and not harmless:
            return way.words
        if way.words or not self.texts.caption:  # a caption comes first as it is: it says what was found by itself
            way.names += [name for name in found_names(way.tried[-1].look) if name not in way.names]
        text = self.texts.text(way.names)
        return "" if text == self.texts.safe and not harmless else text

    def encoded(self, text: str, positive: Conditioning) -> Conditioning:
        """A safe prompt's conditioning. Raises ValueError, naming the input, where it can't guide the prompt's model.

        It is not to be asked for inside a run: the text encoder may take the model's place.
        """
        encoded = self._encode(text)
        check_width(encoded, positive)
        if same_prompt(as_branch(encoded, positive), positive):
            raise ValueError(
                f"words: expected a safe prompt that the text encoder tells from the prompt, got {text!r}, which it "
                "reads as the same. It may cut long prompts off, or read nothing in the added words. Shorten the "
                "prompt, or write other words in `instead`."
            )
        return encoded

    def against(self, way: Ascent) -> Conditioning | None:
        """What stands behind the negative prompt in a picture's next run, so that what was found does not come back;
        None where there is nothing."""
        text = self.texts.against(way.names, way.level == way.levels[-1]) if way.names else ""
        return self._encode(text) if text else None

    def _encode(self, text: str) -> Conditioning:
        if text not in self._encoded:
            self._encoded[text] = encode_prompt(self._clip, text)
        return self._encoded[text]


def found_names(look: Look) -> list[str]:
    """What a picture needs words for: what was found in it, the likeliest where a combination says so, "" for what has
    no name."""
    seen = [finding.name for finding in look.findings if finding.name != TEXT]
    return [name for name in look.names if name != TEXT] or ([] if look.failed else seen[:1]) or [""]


def make_words(clip: CLIP, prompt: Any, false_alarms: Any, **texts: Any) -> Words:
    """texts: the further ones of AddedWords. Raises ValueError, naming the input, for what can't be used."""
    check_clip(clip)
    check_texts(prompt=prompt, **texts)
    check_numbers(false_alarms=false_alarms)
    return Words(clip, AddedWords(prompt, **texts, false_alarms=false_alarms, knows=word_test(clip)))
