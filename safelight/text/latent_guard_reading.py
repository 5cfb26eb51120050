"""A trained Latent Guard reads a prompt: its risk, the concept that it holds, and the words that answer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from safelight.text.encoding import Encoding, Key
from safelight.text.latent_guard import GuardHead, Rows
from safelight.text.latent_guard_texts import Name
from safelight.text.risk import DECISION, Calibration

_SHOWN = 3  # words of a note
_CONCEPTS = "concepts"  # of the tensors of a block, those that are not its head's


@dataclass(frozen=True)
class TextRows:
    """A chunk of a text in one block. end: [W], the state of its end token; rows: [1 + K, W], that and its words'.

    words: of the K rows, "" where it is not known.
    """

    end: torch.Tensor
    rows: torch.Tensor
    words: tuple[str, ...]


Text = dict[Key, list[TextRows]]  # by block the chunks


def rows_of(encoding: Encoding) -> Text:
    """By block, the chunks of a text that have words; float32, on the CPU. A head reads each by itself, as it learned.

    Where an encoder marks no end, the last word's state is taken for it.
    """
    result = {}
    for key, rows, columns in encoding.blocks():
        chunks = []
        for number in encoding.chunk[rows].unique().tolist():
            here = torch.zeros_like(encoding.content)
            here[rows] = encoding.chunk[rows] == number
            words, tail = (torch.nonzero(here & kind).flatten() for kind in (encoding.content, encoding.tail))
            if len(words):
                end = tail[:1] if len(tail) else words[-1:]
                states = encoding.states[0, torch.cat([end, words])][:, columns].float().cpu()
                chunks.append(TextRows(states[0], states, tuple(encoding.words[i] for i in words.tolist())))
        result[key] = chunks
    return result


@dataclass(frozen=True)
class Reading:
    """risk: in [0, 1]; name: the one that answers most; words: with their shares of its attention, the largest first.

    reason: why the risk could not be told and is 1, "" where it could.
    """

    risk: float
    name: Name | None = None
    words: tuple[tuple[str, float], ...] = ()
    reason: str = ""

    @property
    def concept(self) -> str:
        """The concept that fired, "" for none."""
        return self.name.text if self.name and self.risk >= DECISION else ""

    @property
    def attention(self) -> str:
        """The words with their shares, for the artist."""
        return ", ".join(f"{word} {share:.2f}" for word, share in self.words)

    @property
    def note(self) -> str:
        """For the artist: why the risk is 1, or the likeliest name and the words that answer most."""
        if self.name is None:
            return self.reason
        of = "" if self.name.concept == self.name.text else f" ({self.name.concept})"
        shown = ", ".join(f"{word} {share:.2f}" for word, share in self.words[:_SHOWN])
        return f"Risk {self.risk:.2f}. Likeliest concept: {self.name.text}{of}. Attention: {shown}."


@dataclass(frozen=True)
class BlockGuard:
    """The head of one block. concepts: [C, W], the states of the names; calibration: of its highest score."""

    head: GuardHead
    concepts: torch.Tensor
    calibration: Calibration

    def scores(self, chunks: Sequence[TextRows]) -> torch.Tensor:
        """[N, C], for every chunk and name."""
        return self.head(Rows.of([chunk.rows for chunk in chunks]), self.concepts)


@dataclass(frozen=True)
class Guard:
    """names: what the heads are asked for, in the order of every block's concepts."""

    names: tuple[Name, ...]
    blocks: Mapping[Key, BlockGuard]

    def risk(self, text: Text) -> float:
        return self.read(text).risk

    def read(self, text: Text) -> Reading:
        """text: as rows_of gives it. Of the blocks that can tell, the one with the highest risk counts."""
        if not any(text.values()):
            return Reading(1.0, reason="The prompt has no words, so there is nothing to measure and risk is 1.")
        telling = {key: block for key, block in self.blocks.items() if block.calibration.can_tell and text.get(key)}
        if not telling:
            best = max((block.calibration.auc for block in self.blocks.values()), default=0.0)
            return Reading(
                1.0, reason=f"This guard can't tell its concepts from others (AUC {best:.2f}), so risk is 1."
            )
        return max((self._read(block, text[key]) for key, block in telling.items()), key=lambda one: one.risk)

    def _read(self, block: BlockGuard, chunks: Sequence[TextRows]) -> Reading:
        scores = block.scores(chunks)
        if not torch.isfinite(scores).all():
            return Reading(1.0, reason="The risk of this prompt is no number, so it is 1.")
        chunk, name = divmod(int(scores.argmax()), scores.shape[1])
        asked = block.concepts[name : name + 1]
        attention = block.head.attention(Rows.of([chunks[chunk].rows]), asked)[0, 0, 1:]
        risk = block.calibration.risk(float(scores.max()))
        return Reading(risk, self.names[name], _by_word(chunks[chunk].words, attention))

    # -- as a file ----------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for (part, block), guard in self.blocks.items():
            for name, tensor in {**guard.head.state_dict(), _CONCEPTS: guard.concepts}.items():
                tensors[f"{part}.{block}.{name}"] = tensor.detach()
        return tensors

    def settings(self) -> dict[str, Any]:
        """What its tensors do not have, for JSON."""
        calibrations = {
            f"{part}.{block}": [guard.calibration.slope, guard.calibration.decision, guard.calibration.auc]
            for (part, block), guard in self.blocks.items()
        }
        return {"names": [[name.text, name.concept, name.thing] for name in self.names], "calibration": calibrations}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> Guard:
        """The guard that gave these. Raises KeyError, TypeError, ValueError or RuntimeError for others."""
        names = tuple(Name(*map(str, one)) for one in settings["names"])
        by_block: dict[Key, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            part, block, rest = name.split(".", 2)
            by_block.setdefault((int(part), int(block)), {})[rest] = tensor
        blocks = {}
        for key, own in by_block.items():
            concepts = own.pop(_CONCEPTS)
            calibration = Calibration(*map(float, settings["calibration"][f"{key[0]}.{key[1]}"]))
            head = GuardHead.of_tensors(own)
            if concepts.shape != (len(names), len(head.centre)):
                raise ValueError(
                    f"tensors: expected a state for each of {len(names)} names, got {tuple(concepts.shape)}"
                )
            blocks[key] = BlockGuard(head, concepts, calibration)
        if not blocks:
            raise ValueError("tensors: expected heads, got none")
        return cls(names, blocks)


def _by_word(words: Sequence[str], attention: torch.Tensor) -> tuple[tuple[str, float], ...]:
    """The shares of the words in their attention; a word's pieces stand together, and the same word counts once."""
    shares: dict[str, float] = {}
    total = max(float(attention.sum()), 1e-12)
    for word, share in zip(words, attention.tolist(), strict=True):
        if word:
            shares[word] = shares.get(word, 0.0) + share / total
    return tuple(sorted(shares.items(), key=lambda one: -one[1]))
