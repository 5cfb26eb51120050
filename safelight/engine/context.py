"""What Safelight Context Encode gives."""

from __future__ import annotations

import json
from dataclasses import dataclass

from safelight.text.conditioning import Conditioning


@dataclass(frozen=True)
class Context:
    """The prompt as written, its safe counterpart, its risk, and the notes on how it was made.

    text: the safe counterpart as text, None where there is none. changes: what a rewrite put into it.
    """

    positive: Conditioning
    safe: Conditioning
    risk: float
    method: str
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text: str | None = None
    changes: tuple[str, ...] = ()

    def verdict(self) -> str:
        """For the artist, as JSON."""
        verdict = {
            "risk": round(self.risk, 4),
            "method": self.method,
            "words": list(self.words),
            "notes": list(self.notes),
        }
        if self.text is not None:
            verdict |= {"safe_prompt": self.text, "changes": list(self.changes)}
        return json.dumps(verdict, ensure_ascii=False)
