"""The memory of predictions: equal calls, and no others, are answered; its size is bounded."""

import torch

from safelight.guidance.prediction_memory import PredictionMemory

X = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def test_the_same_call_is_answered_bit_for_bit():
    memory = PredictionMemory()
    assert memory.ask("key", X) is None
    answer = torch.rand(1, 4, 8, 8)
    memory.keep("key", X, answer)
    assert torch.equal(memory.ask("key", X.clone()), answer)


def test_another_call_is_not():
    memory = PredictionMemory()
    memory.keep(("key", 0.5), X, X)
    nudged = X.clone()
    nudged[0, 0, 0, 0] = torch.nextafter(nudged[0, 0, 0, 0], torch.tensor(2.0))
    swapped = X.flatten().flip(0).reshape(X.shape)  # of the same sum
    for key, x in ((("key", 0.5), nudged), (("key", 0.5), swapped), (("key", 0.6), X), (("key", 0.5), X.half())):
        assert memory.ask(key, x) is None


def test_what_is_kept_does_not_change_with_what_came_in_or_went_out():
    memory, answer = PredictionMemory(), torch.zeros(1, 4, 8, 8)
    x = X.clone()
    memory.keep("key", x, answer)
    answer += 1
    x += 1
    memory.ask("key", X).add_(5)
    assert memory.ask("key", X).eq(0).all()


def test_the_first_calls_stay_where_there_is_no_room_for_more():
    size = 2 * X.numel() * 4
    memory = PredictionMemory(2 * size)
    for key in "abc":
        assert not memory.full
        memory.keep(key, X, X)
    assert memory.full and memory.size == 2 * size
    assert torch.equal(memory.ask("a", X), X) and torch.equal(memory.ask("b", X), X) and memory.ask("c", X) is None
    memory.clear()
    assert memory.ask("a", X) is None and memory.size == 0


def test_no_numbers_are_never_known():
    memory, x = PredictionMemory(), X.clone()
    x[0, 0, 0, 0] = float("nan")
    memory.keep("key", x, X)
    assert memory.ask("key", x) is None and memory.size == 0
