"""A digest of values in dicts and lists: equal where all of them are the same, tensors bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from uuid import UUID

import torch

_PLAIN = (str, bytes, bool, int, float, complex, type(None), torch.dtype, torch.device, UUID)


class UnknownValueError(TypeError):
    """For a value that has no digest."""


def digest_of(value: object, number: Callable[[object], int] | None = None) -> bytes:
    """number: stands for an object that is neither a tensor nor a plain value.

    Raises UnknownValueError for such an object where there is no `number`.
    """
    digest = hashlib.blake2b(digest_size=32)

    def add(text: str) -> None:
        digest.update(f"{text}\n".encode("utf-8", "surrogatepass"))

    def feed(value: object) -> None:
        if type(value) in (torch.Tensor, torch.nn.Parameter):
            assert isinstance(value, torch.Tensor)
            add(f"tensor {value.dtype} {tuple(value.shape)} {value.device}")
            # A copy from another device waits for what is queued there. The samplers' nodes read the noise level of
            # every call just before, so that at a call's beginning nothing is.
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, dict):
            add(f"dict {len(value)}")
            for key in sorted(value, key=repr):
                feed(key)
                feed(value[key])
        elif isinstance(value, (list, tuple)):
            add(f"list {len(value)}")
            for each in value:
                feed(each)
        elif isinstance(value, _PLAIN):
            add(f"{type(value).__name__} {value!r}")
        elif number is not None:
            add(f"object {number(value)}")
        else:
            raise UnknownValueError(type(value).__name__)

    feed(value)
    return digest.digest()
