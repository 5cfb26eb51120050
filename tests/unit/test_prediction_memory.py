"""The memory of predictions: known calls are answered, the least recent run gives way, its last calls first."""

import torch

from safelight.guidance.prediction_memory import PredictionMemory

ANSWER = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
SIZE = ANSWER.numel() * 4


def remembering(calls, *runs):
    """A memory with room for so many calls, after runs with calls of these names that are of the owner named first."""
    memory = PredictionMemory(calls * SIZE)
    for owner, names in runs:
        memory.begin(owner)
        use(memory, names)
    return memory


def use(memory, names):
    for name in names:
        if memory.ask(name.encode()) is None:
            memory.keep(name.encode(), ANSWER)


def known(memory):
    memory.begin("reader")
    return "".join(name for name in "abcdefgh" if memory.ask(name.encode()) is not None)


def test_a_known_call_is_answered_and_no_other():
    memory = remembering(9, ("m", ""))
    assert memory.ask(b"a") is None and memory.keep(b"a", ANSWER)
    assert torch.equal(memory.ask(b"a"), ANSWER) and memory.ask(b"b") is None
    memory.begin("m")
    assert torch.equal(memory.ask(b"a"), ANSWER)


def test_what_is_kept_does_not_change_with_what_came_in():
    memory, answer = remembering(9, ("m", "")), torch.zeros(1, 4)
    memory.keep(b"a", answer)
    answer += 1
    assert memory.ask(b"a").eq(0).all()


def test_the_first_calls_of_a_run_stay_where_there_is_no_room_for_more():
    memory = remembering(2, ("m", "ab"))
    assert not memory.keep(b"c", ANSWER) and memory.size == 2 * SIZE
    assert known(memory) == "ab"


def test_the_run_that_was_used_least_recently_gives_way_from_its_end():
    memory = remembering(5, ("m", "abc"), ("m", "de"), ("m", "f"))
    assert memory.size == 5 * SIZE and known(memory) == "abdef"
    memory = remembering(5, ("m", "abc"), ("m", "de"), ("m", "fghi"))
    assert known(memory) == "dfgh", "the first run has gone, then the end of the second"


def test_a_call_that_a_later_run_uses_is_that_runs():
    memory = remembering(4, ("m", "abc"), ("m", "d"), ("m", "abe"))
    assert known(memory) == "abde", "c, which the last run did not share, went first"
    memory = remembering(4, ("m", "abc"), ("m", "d"), ("m", "abefgh"))
    assert known(memory) == "abef"


def test_an_owner_is_forgotten_alone():
    memory = remembering(9, ("m", "ab"), ("n", "c"), ("m", "d"))
    memory.forget("m")
    assert memory.size == SIZE and known(memory) == "c"
    use(memory, "ab")
    assert memory.size == 3 * SIZE


def test_runs_without_answers_leave_nothing():
    memory = remembering(2, *[("m", "")] * 50)
    memory.begin("m")
    assert len(memory._runs) == 1
