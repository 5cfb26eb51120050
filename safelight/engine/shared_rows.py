"""Rows that the frames of a strip share: what one frame's call evaluated answers for others that begin with it.

A row is known where its latent, its noise level and its conditioning are the same bit for bit. The last bits of a row
depend on how many share its call, so this goes with economy, whose pictures are almost those of full runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine.digest import UnknownValueError, digest_of
from safelight.engine.row_memory import Inner, RowMemory
from safelight.engine.run_record import RunRecord

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class SharedRows:
    """The rows of one noise level at a time. A call is answered where all of its rows are known."""

    scope = "within a step"

    def __init__(self) -> None:
        self._level: list[float] = []
        self._known: dict[bytes, torch.Tensor] = {}

    def before(self, inner: Inner, _: ModelPatcher, record: RunRecord) -> Inner:
        """A model_function_wrapper that asks `inner` for the calls of which not all rows are known."""

        def wrapper(apply_model: Callable[..., torch.Tensor], args: dict[str, Any]) -> torch.Tensor:
            level = args["timestep"].flatten()[:1].tolist()
            if level != self._level:
                self._level, self._known = level, {}
            keys = _keys(args)
            known = [self._known.get(key) for key in keys]
            answers = [answer for answer in known if answer is not None]
            if keys and len(answers) == len(keys):
                record.remembered_rows += len(keys)
                return torch.stack(answers)
            answer = inner(apply_model, args)
            self._known.update(zip(keys, answer, strict=False))  # no keys where rows can't be told apart
            return answer

        return wrapper


AnyMemory = RowMemory | SharedRows


def _keys(args: dict[str, Any]) -> list[bytes]:
    """What each row's answer depends on; empty where that can't be told."""
    rows, kinds = len(args["input"]), args["cond_or_uncond"]
    tensors = {name: value for name, value in args["c"].items() if name != "transformer_options"}
    tensors |= {"input": args["input"], "timestep": args["timestep"]}
    if not all(isinstance(value, torch.Tensor) and value.shape[:1] == (rows,) for value in tensors.values()):
        return []
    each = rows // len(kinds)
    try:
        return [digest_of([kinds[i // each], {name: value[i] for name, value in tensors.items()}]) for i in range(rows)]
    except UnknownValueError:
        return []
