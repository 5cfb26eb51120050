"""What Safelight Context Encode gives."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.text.conditioning import Conditioning
from safelight.text.safe_prompt import Verdict


@dataclass(frozen=True)
class Context:
    """The prompt as written, its safe counterpart, and what is said of both."""

    positive: Conditioning
    safe: Conditioning
    verdict: Verdict
