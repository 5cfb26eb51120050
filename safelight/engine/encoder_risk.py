"""How unsafe a prompt is by the states of the artist's text encoder, calibrated on phrases that it encodes once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from safelight.checks import check_texts
from safelight.engine.concept_spaces import space_of
from safelight.engine.encoder import check_clip, encode_neutral
from safelight.engine.known_rows import check_rows
from safelight.text.concepts import split_concepts
from safelight.text.risk import LEAST_AUC

if TYPE_CHECKING:
    from comfy.sd import CLIP


def encoder_risk(clip: CLIP, prompt: str, concepts: str) -> tuple[float, str]:
    """The risk in [0, 1], 1 where it can't be told, and a note for the artist on that ("" for none).

    Raises ValueError, naming the input, for an encoder whose rows are not single words.
    """
    check_clip(clip)
    check_texts(prompt=prompt, concepts=concepts)
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError("concepts: expected what counts as unsafe, got an empty list. Name it, separated by commas.")
    check_rows(clip, "Safelight Encoder Risk", "Take the risk of Safelight Prompt or Safelight Context Encode.")
    space, encoding = space_of(clip, phrases), encode_neutral(clip, prompt).check("the prompt")
    if not encoding.content.any():
        return 1.0, "The prompt has no words, so there is nothing to measure and risk is 1."
    if not any(calibration.can_tell for calibration in space.calibration):
        best = max((calibration.auc for calibration in space.calibration), default=0.0)
        return 1.0, (
            f"This text encoder can't tell the unsafe calibration phrases from the benign ones (AUC {best:.2f}, needed "
            f"{LEAST_AUC}), so risk is 1."
        )
    risk = space.risk(encoding)
    return (risk, "") if math.isfinite(risk) else (1.0, "The risk of this prompt is no number, so it is 1.")
