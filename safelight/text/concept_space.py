"""A text encoder's concept space: a subspace for each block of its states, and what is done to a prompt there.

Each block handles three kinds of tokens separately. Words with a meaning decide risk and triggers. Common words (a, on,
with, ...) occur in every prompt; each is measured from its own centre, so that only what the prompt adds to it counts.
Tails are the end token and the padding: in a causal encoder they carry the meaning of the whole prompt, and they differ
from words far more than one prompt differs from another, so they get their own subspace.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from safelight.text import risk as risks
from safelight.text.encoding import Encoding, Key, meaning
from safelight.text.subspace import SHARE_THRESHOLD, Subspace, project
from safelight.text.subtract import subtract

REMOVALS = ("whole", "part")
# In a prompt that is risky as a whole, words with at least this risk count as triggers too.
TRIGGER_RISK = 0.1


@dataclass(frozen=True)
class ConceptSpace:
    """The concepts' subspaces by block, for words and for tails, and for the pooled output.

    common: the centre [W] of every common word, by block. calibration: of risk, one for every part.
    """

    words: dict[Key, Subspace]
    tails: dict[Key, Subspace]
    pooled: Subspace | None
    common: dict[str, dict[Key, torch.Tensor]]
    calibration: tuple[risks.Calibration, ...] = ()

    # -- measuring a prompt -------------------------------------------------------------------------------------------

    def meaning(self, encoding: Encoding, part: int) -> torch.Tensor:
        """Which words are not common ones, boolean [T of the part]. Without any such word, all words are chosen."""
        rows = slice(encoding.parts[part].start, encoding.parts[part].stop)
        return meaning(encoding.content[rows], encoding.words[rows], frozenset(self.common))

    def deviations(self, encoding: Encoding, key: Key, rows: slice, columns: slice, tail: bool) -> torch.Tensor:
        """Deviations from the centres of words or of tails: [B, T of the part, W of the block], float32."""
        states = encoding.states[:, rows, columns].float()
        if tail:
            centre = self.tails[key].centre
            return states - centre[encoding.position[rows].clamp_max(centre.shape[0] - 1)].to(states.device)
        plain = self.words[key].centre
        centres = [self.common.get(word, {}).get(key, plain) for word in encoding.words[rows]]
        return states - torch.stack(centres).to(states.device)

    def shares(self, encoding: Encoding) -> torch.Tensor:
        """[B, T]: the unsafe share of each token's centred norm, the largest of its blocks; 0 for other tokens."""
        result = torch.zeros(encoding.states.shape[:2])
        for key, rows, columns in encoding.blocks():
            for tail, spaces, chosen in ((False, self.words, encoding.content), (True, self.tails, encoding.tail)):
                if key in spaces:
                    space = spaces[key].to(encoding.states.device)
                    share = space.share(self.deviations(encoding, key, rows, columns, tail)).cpu()
                    result[:, rows] = torch.where(chosen[rows], torch.maximum(result[:, rows], share), result[:, rows])
        return result

    def scores(self, encoding: Encoding) -> list[float]:
        """The score of every part, the highest of its rows."""
        shares = self.shares(encoding)
        return [
            max(risks.prompt_score(row[part.start : part.stop][chosen]) for row in shares)
            for p, part in enumerate(encoding.parts)
            for chosen in [self.meaning(encoding, p)]
        ]

    def risk(self, encoding: Encoding) -> float:
        """The highest risk of the parts whose calibration can tell; 1 where none can, or without words."""
        by_part = [
            calibration.risk(score)
            for calibration, score in zip(self.calibration, self.scores(encoding), strict=True)
            if calibration.can_tell
        ]
        return max(by_part, default=1.0)

    def threshold(self, part: int, risk: float = risks.DECISION) -> float:
        """The share that has this risk; a word of this part with a larger share is a trigger.

        At the default, a prompt has a trigger where its risk is above 0.5. Where the calibration can't tell, it is
        SHARE_THRESHOLD.
        """
        calibrated = bool(self.calibration) and self.calibration[part].can_tell
        return self.calibration[part].score(risk) if calibrated else SHARE_THRESHOLD

    def triggers(self, encoding: Encoding, risk: float = 0.0) -> torch.Tensor:
        """The words that call up an unsafe concept in any block of their part, boolean [B, T]; common words never do.

        risk: of the whole prompt; where it is 0.5 or more, words count from TRIGGER_RISK on. A word of several tokens
        is chosen as a whole.
        """
        least_risk = TRIGGER_RISK if risk >= risks.DECISION else risks.DECISION
        shares = self.shares(encoding)
        result = torch.zeros_like(shares, dtype=torch.bool)
        for p, part in enumerate(encoding.parts):
            rows = slice(part.start, part.stop)
            result[:, rows] = (shares[:, rows] > self.threshold(p, least_risk)) & self.meaning(encoding, p)
        return encoding.whole_words(result)

    # -- changing it --------------------------------------------------------------------------------------------------

    def project(
        self,
        encoding: Encoding,
        states: torch.Tensor,
        pooled: torch.Tensor | None,
        strength: float = 1.0,
        risk: float = 1.0,
        removal: str = "whole",
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """A prompt's states [B, T, W] and pooled output without what its trigger words call up.

        encoding: the same prompt without token weights.
        removal: what a trigger word loses. "part" removes what lies in the subspace. "whole" removes all that sets the
            word apart from everyday words: concepts that name a kind span only what its members share, and the rest
            would still draw the object.
        Where risk >= 0.5 and a part has no trigger, the unsafe part of all its words is removed (fail closed). Common
        words and tails are projected in every chunk in which a word is, the pooled output where any word is.
        Returns the new states, the new pooled output, and which tokens changed, boolean [B, T].
        """
        triggers = self.triggers(encoding, risk)
        chosen = triggers.clone()
        if risk >= risks.DECISION:
            for part in encoding.parts:
                here = chosen[:, part.start : part.stop]
                here |= ~here.any(dim=1, keepdim=True) & encoding.content[part.start : part.stop]
        plain = torch.cat([self.meaning(encoding, p) for p in range(len(encoding.parts))])
        chosen = chosen | _along(encoding, chosen, encoding.content & ~plain)
        chosen = chosen | _along(encoding, chosen & encoding.content, encoding.tail)
        amount = (strength * encoding.weights).to(states.device)
        result = states.clone()
        for key, rows, columns in encoding.blocks():
            for is_tail, spaces, kind in ((False, self.words, encoding.content), (True, self.tails, encoding.tail)):
                tokens = (chosen & kind)[:, rows]
                if key in spaces and tokens.any():
                    away = self.deviations(encoding, key, rows, columns, is_tail).to(states.device)
                    lost = spaces[key].to(states.device).unsafe_part(away)
                    if removal == "whole":
                        lost = torch.where(triggers[:, rows, None].to(states.device), away, lost)
                    block = result[:, rows, columns]
                    result[:, rows, columns] = project(block, lost, tokens.to(states.device), amount[rows])
        if pooled is not None and self.pooled is not None and chosen.any():
            space = self.pooled.to(pooled.device)
            moved = pooled.float() - strength * space.unsafe_part(pooled.float() - space.centre)
            pooled = torch.where(chosen.any(dim=1).to(pooled.device)[:, None], moved.to(pooled.dtype), pooled)
        return result, pooled, chosen

    def subtract(
        self, encoding: Encoding, states: torch.Tensor, pooled: torch.Tensor | None, strength: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A prompt's states [B, T, W] and pooled output less `strength` times the concepts' mean deviation.

        Words, tails and the pooled output have separate directions. A token's weight scales the step.
        """
        amount = (strength * encoding.weights).to(states.device)
        result = states.clone()
        for key, rows, columns in encoding.blocks():
            for spaces, chosen in ((self.words, encoding.content), (self.tails, encoding.tail)):
                if key in spaces:
                    direction = spaces[key].direction.to(states.device)
                    tokens = chosen[rows].to(states.device)
                    result[:, rows, columns] = subtract(result[:, rows, columns], direction, tokens, amount[rows])
        if pooled is not None and self.pooled is not None:
            pooled = (pooled.float() - strength * self.pooled.direction.to(pooled.device)).to(pooled.dtype)
        return result, pooled


def _along(encoding: Encoding, words: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    """The tokens of this kind in the chunks in which a word is chosen, boolean [B, T]."""
    result = torch.zeros_like(words)
    for number in encoding.chunk.unique():
        in_chunk = encoding.chunk == number
        result |= (words & in_chunk).any(dim=1, keepdim=True) & in_chunk & kind
    return result
