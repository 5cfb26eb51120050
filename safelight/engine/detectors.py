"""Detectors on the host: its CLIP Vision models, and looking at pictures with the host's progress and interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.utils
import torch
import torch.nn.functional as F

from safelight.detect import zero_shot
from safelight.detect.detector import Detector
from safelight.detect.look import FOUND, Look, on_scale
from safelight.engine import host, studio
from safelight.studio.policy import STOP
from safelight.text.concepts import split_concepts
from safelight.views.findings import KEEP, check_hiding, drawn, hidden

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel
    from comfy.sd import CLIP

FORMAT = 1
TEMPLATES = ("{}", "a picture of {}", "a picture that shows {}")
# Plain pictures by which a pair of towers is known: what one says of them the other has to see.
COLOURS = {
    "red": (0.9, 0.1, 0.1),
    "green": (0.1, 0.6, 0.15),
    "blue": (0.1, 0.2, 0.85),
    "yellow": (0.95, 0.9, 0.1),
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
}
RIGHT = 4  # of them, at least; strangers get one right


class ClipVisionDetector(Detector):
    """The host's CLIP Vision model with the text tower that was trained with it; see zero_shot.py.

    threshold: the confidence that counts as found.
    Raises ValueError, naming the input, for no concepts, or towers that don't belong together.
    """

    name = "CLIP Vision"

    def __init__(
        self,
        clip_vision: ClipVisionModel,
        clip: CLIP,
        concepts: str,
        threshold: float = FOUND,
    ) -> None:
        on_scale(0.0, threshold)  # for its error
        self._vision, self._clip, self._threshold = clip_vision, clip, threshold
        self._names = split_concepts(concepts)
        if not self._names:
            raise ValueError(
                "concepts: expected what to look for, got an empty list. Name it, separated by commas, or link "
                "Safelight Concepts."
            )
        self._check_pair()
        texts = [template.format(name) for name in self._names for template in TEMPLATES]
        embedded = F.normalize(self._texts(texts), dim=-1)
        self._concepts = embedded.unflatten(0, (len(self._names), len(TEMPLATES))).mean(1)
        self._harmless = self._texts(zero_shot.HARMLESS)

    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        """Of the squares of each picture the worst: the host's models see a square from the middle."""
        squares = zero_shot.squares(pictures)
        seen = self._pictures(torch.cat(squares))
        looks = zero_shot.looks(seen, self._concepts, self._harmless, self._names, self._threshold)
        return [max(looks[i :: len(pictures)], key=lambda look: look.score) for i in range(len(pictures))]

    def _pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        return self._vision.encode_image(pictures)["image_embeds"].float().cpu()

    def _texts(self, texts: Sequence[str]) -> torch.Tensor:
        """One by one: of a call with several texts the host gives the pooled output of the first."""
        bar, rows = comfy.utils.ProgressBar(len(texts)), []
        for text in texts:
            comfy.model_management.throw_exception_if_processing_interrupted()
            _, pooled = self._clip.encode_from_tokens(self._clip.tokenize(text), return_pooled=True)
            if pooled is None:
                raise ValueError(
                    "clip: expected the text tower of the CLIP Vision model, got an encoder that gives no vector for "
                    "a whole text (T5 and language models). Load a CLIP with Load CLIP."
                )
            rows.append(pooled[0].float().cpu())
            bar.update(1)
        return torch.stack(rows)

    def _check_pair(self) -> None:
        try:
            seen = self._pictures(torch.tensor(list(COLOURS.values()))[:, None, None].expand(-1, 64, 64, -1))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"clip_vision: expected a CLIP Vision model that embeds pictures, got another one ({error}). Load one "
                "of OpenAI's or LAION's."
            ) from None
        said = self._texts([f"a plain {name} picture" for name in COLOURS])
        wanted = (
            "Load the text encoder of the same CLIP model: clip_l with its projection for a ViT-L, SDXL's for a bigG."
        )
        if seen.ndim != 2 or seen.shape[-1] != said.shape[-1]:
            raise ValueError(
                f"clip: expected the text tower of the CLIP Vision model, which is {seen.shape[-1]} wide, got one that "
                f"is {said.shape[-1]} wide. {wanted}"
            )
        likeness = F.normalize(seen, dim=-1) @ F.normalize(said, dim=-1).T
        right = int((likeness.argmax(1) == torch.arange(len(COLOURS))).sum())
        if right < RIGHT:
            raise ValueError(
                f"clip: expected the text tower of the CLIP Vision model, got another one: of {len(COLOURS)} plain "
                f"colours it names {right}. {wanted}"
            )


def look_at(images: torch.Tensor, detector: Detector, hide: str, node: str) -> dict[str, Any]:
    """The ui and the result (image, found, passed, score, report) of the node that looks at pictures. node: its id."""
    check_hiding(hide)
    if (server := studio.server()) is not None:
        detector, hide = server.with_own(detector) or detector, server.policy.hide(hide)
    bar = comfy.utils.ProgressBar(len(images))

    def on_progress(count: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(count)

    looks = detector.look(images, on_progress)
    passed, words = not any(look.found for look in looks), [look.words for look in looks]
    studio.log_looked(looks, hide, node)
    studio.stop_found(passed, hide, "; ".join(words))
    hide = KEEP if hide == STOP else hide
    pictures = [images[i, ..., :3] for i in range(len(images))]
    kept = [hidden(picture, look, hide) for picture, look in zip(pictures, looks, strict=True)]
    untouched = all(after is before for after, before in zip(kept, pictures, strict=True))
    # Drawn over what is left of it, as previews are kept and can be fetched.
    shown = torch.stack([drawn(picture, look) for picture, look in zip(kept, looks, strict=True)])
    preview = host.PreviewImage().save_images(shown)["ui"]["images"]
    note = "Nothing was found." if passed else f"Found: {'; '.join(words)}."
    note += " This server's detectors looked as well." if server is not None and server.detector is not None else ""
    return {
        "ui": {"images": preview, "safelight_note": [note]},
        "result": (
            images if untouched else torch.stack(kept),
            shown,
            passed,
            max(look.score for look in looks),
            report(detector, looks),
        ),
    }


def report(detector: Detector, looks: Sequence[Look]) -> str:
    """What was found in each picture, as JSON."""

    def of(look: Look) -> dict[str, Any]:
        findings = [
            {"name": one.name, "score": round(one.score, 4), "box": one.box and [round(side, 4) for side in one.box]}
            for one in look.findings
        ]
        return {"found": look.found, "score": round(look.score, 4), "failed": look.failed, "findings": findings}

    passed = not any(look.found for look in looks)
    return json.dumps(
        {"format": FORMAT, "detector": detector.name, "passed": passed, "pictures": [of(look) for look in looks]},
        ensure_ascii=False,
    )
