"""The student of redaction: it starts as the identity, keeps its best, and is the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from safelight.edits import redaction_network
from safelight.edits.redaction import START, TAIL, WORD, Sample, split
from safelight.edits.redaction_network import NetworkMap, Student, train

WIDTH = 8
KINDS = torch.tensor([START, WORD, WORD, WORD, TAIL, TAIL])


def texts(count: int = 100, redacted: int = 40, hard: bool = False) -> list[dict[str, Sample]]:
    """Texts in whose redacted ones a word becomes another, and the tail changes with it. hard: at random."""
    gen = torch.Generator().manual_seed(1)
    thing, other, tail = 2 * torch.randn(3, WIDTH, generator=gen)
    examples = []
    for i in range(count):
        states = torch.randn(5, WIDTH, generator=gen)
        after = states.clone()
        if i < redacted:
            states[1] = thing
            after[1] = torch.randn(WIDTH, generator=gen) if hard else other
            after[3:] += tail
        text = states[1:2]
        sample = Sample(states, after, KINDS[1:], i < redacted)
        pooled = Sample(text, text + (i < redacted), KINDS[1:2], i < redacted)
        examples.append({"0.0": sample, "pooled": pooled})
    return examples


def test_a_student_starts_as_the_identity():
    states = torch.randn(3, 6, WIDTH, generator=torch.Generator().manual_seed(2))
    student = Student(torch.zeros(WIDTH), torch.tensor(1.0))
    assert torch.equal(NetworkMap(student).apply(states, KINDS.expand(3, -1)), states)
    trained = train(texts(), steps=1, seed=0)
    first = trained.eval_points[0]
    assert first.step == 0 and first.keep == 0.0 and first.redact == pytest.approx(1.0, abs=0.3)


def test_training_redacts_and_keeps_and_the_tail_follows_the_word():
    examples = texts()
    trained = train(examples, steps=150, seed=0, blend=0.0)
    best = trained.eval_points[trained.best]
    assert best.redact < 0.3 and best.keep < 0.15
    # The state of a tail does not show what to do; the word does.
    made = trained.maps["0.0"]
    for first, last, most in ((0, 40, 0.6), (40, 100, 0.4)):
        ones = [each["0.0"] for each in examples[first:last]]
        apart = [(made.apply(one.states[None], one.kinds[None])[0] - one.targets)[3:].norm() for one in ones]
        change = [(examples[i]["0.0"].states - examples[i]["0.0"].targets)[3:].norm() for i in range(40)]
        assert sum(apart) / len(apart) < most * sum(change) / len(change)


def test_the_same_seed_gives_the_same_student_and_another_another():
    first, again, other = (train(texts(), steps=10, seed=seed) for seed in (3, 3, 4))
    for key, made in first.maps.items():
        same = again.maps[key].tensors()
        assert all(torch.equal(tensor, same[name]) for name, tensor in made.tensors().items())
    assert first.eval_points == again.eval_points and first.eval_points != other.eval_points


def test_a_seed_leaves_the_processs_own_random_numbers_alone():
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    train(texts(), steps=2, seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_it_keeps_its_best_and_stops_where_nothing_is_gained(monkeypatch):
    monkeypatch.setattr(redaction_network, "EVERY", 5)
    monkeypatch.setattr(redaction_network, "PATIENCE", 4)
    examples = texts(hard=True)  # what held-out texts become can't be learned
    trained = train(examples, steps=1000, seed=0)
    scores = [point.keep + point.redact for point in trained.eval_points]
    assert trained.best == scores.index(min(scores)) and len(scores) - 1 - trained.best == 4
    assert trained.eval_points[-1].step < 1000
    # What comes back is that student: its losses on the held-out texts are those of that evaluation.
    learned, held = split(examples)
    texts_of = redaction_network._together
    units = {key: redaction_network._unit(texts_of([each[key] for each in learned])) for key in trained.maps}
    losses = redaction_network._losses(
        {key: each.student for key, each in trained.maps.items()},
        {key: texts_of([each[key] for each in held]) for key in trained.maps},
        units,
    )
    best = trained.eval_points[trained.best]
    assert losses == (pytest.approx(best.keep), pytest.approx(best.redact))


def test_the_start_token_stays_and_padding_has_no_say():
    trained = train(texts(), steps=40, seed=0).maps["0.0"]
    states = torch.randn(1, 6, WIDTH, generator=torch.Generator().manual_seed(5))
    moved = trained.apply(states, KINDS[None])
    assert torch.equal(moved[:, 0], states[:, 0]) and not torch.equal(moved[:, 1], states[:, 1])
    longer = torch.cat([states, torch.randn(1, 40, WIDTH)], dim=1)
    kinds = torch.cat([KINDS, torch.full((40,), TAIL)])
    assert torch.allclose(trained.apply(longer, kinds[None])[:, :6], moved, atol=1e-5)


def test_a_student_goes_through_its_tensors():
    made = train(texts(), steps=20, seed=0).maps["0.0"]
    states = torch.randn(1, 6, WIDTH)
    assert torch.equal(
        NetworkMap.of_tensors(made.tensors()).apply(states, KINDS[None]), made.apply(states, KINDS[None])
    )
    with pytest.raises((KeyError, RuntimeError)):
        NetworkMap.of_tensors({name: tensor for name, tensor in made.tensors().items() if name != "leave.weight"})


def test_too_few_texts_are_an_error_that_names_the_inputs():
    with pytest.raises(ValueError, match="^redact, keep:"):
        train(texts(8, 4), steps=5, seed=0)


def test_what_progress_raises_ends_the_training():
    class Interrupted(Exception):
        pass

    def stop(step: int) -> None:
        if step == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(texts(), steps=100, seed=0, on_progress=stop)


def test_it_trains_under_inference_mode():
    with torch.inference_mode():
        trained = train(texts(), steps=5, seed=0)
        states = torch.randn(1, 6, WIDTH)
        assert torch.isfinite(trained.maps["0.0"].apply(states, KINDS[None])).all()


def test_a_map_leaves_nothing_on_the_states_device():
    """The device "meta" stands for a GPU."""
    made = NetworkMap(Student(torch.zeros(WIDTH), torch.ones(())).eval())
    states, kinds = torch.empty(1, 4, WIDTH, device="meta"), torch.full((1, 4), WORD, device="meta")
    assert made.apply(states, kinds).device.type == "meta"
    assert {tensor.device.type for tensor in made.tensors().values()} == {"cpu"}
