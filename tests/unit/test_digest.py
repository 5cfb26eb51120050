"""Digests of calls and of what a model carries: equal for what is the same bit for bit, and for nothing else."""

import gc
import uuid

import pytest
import torch

from safelight.engine.digest import UnknownValueError, digest_of
from safelight.engine.model_state import number_of, options_of, state_of

X = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def test_the_same_values_have_the_same_digest():
    name = uuid.uuid4()
    one = {"x": X, "more": [1, 2.5, None, "a", True, torch.float16, name], "scale": torch.tensor(3.0)}
    other = {"scale": torch.tensor(3.0), "more": (1, 2.5, None, "a", True, torch.float16, name), "x": X.clone()}
    assert digest_of(one) == digest_of(other)
    assert digest_of(X) == digest_of(X.movedim(1, -1).contiguous().movedim(-1, 1)), "whatever its strides"


def nudged():
    x = X.clone()
    x[0, 0, 0, 0] = torch.nextafter(x[0, 0, 0, 0], torch.tensor(2.0))
    return x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (X, nudged()),
        (X, X.flip(0)),
        (X, X.reshape(4, 2, 8, 8)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2), -torch.zeros(2)),
        ([X, X], [torch.cat([X, X])]),
        (["ab", "c"], ["a", "bc"]),
        ([["a"], "b"], [["a", "b"]]),
        ({"a": 1}, {"b": 1}),
        (1, 1.0),
        (1, True),
        (0.1, 0.1 + 2**-56),
    ],
)
def test_others_have_another(one, other):
    assert digest_of(one) != digest_of(other)


def test_numbers_that_are_none_are_equal_bit_for_bit_too():
    assert digest_of(torch.full((2,), float("nan"))) == digest_of(torch.full((2,), float("nan")))
    assert digest_of(torch.zeros(0)) == digest_of(torch.zeros(0)) != digest_of(torch.zeros(0, 1))


def test_an_object_has_none_unless_it_has_a_number():
    with pytest.raises(UnknownValueError):
        digest_of({"a": [object()]})
    assert digest_of([len, print], {len: 1, print: 2}.get) != digest_of([len, print], {len: 2, print: 1}.get)


class Thing:
    pass


def test_an_objects_number_is_its_own_for_as_long_as_it_lives():
    one, other = Thing(), Thing()
    first = number_of(one)
    assert number_of(one) == first != number_of(other)
    place, seen = id(one), {first, number_of(other)}
    del one
    gc.collect()
    for _ in range(100):  # some of which get the place of the one that is gone
        thing = Thing()
        assert number_of(thing) not in seen or id(thing) != place
        seen.add(number_of(thing))
    assert number_of(len) == number_of(len)
    assert number_of(object()) != number_of(object())


def test_an_object_that_can_not_be_watched_is_never_the_same():
    thing = (n for n in range(3)).gi_frame  # frames take no weak references
    assert number_of(thing) != number_of(thing)


class Patcher:
    def __init__(self):
        self.model = torch.nn.Sequential(torch.nn.Linear(2, 2))
        self.model.model_sampling = Thing()
        self.patches_uuid, self.object_patches = uuid.uuid4(), {"model_sampling": self.model.model_sampling}


def change_sampling(patcher):
    patcher.object_patches = {"model_sampling": Thing()}


def change_weights(patcher):
    patcher.patches_uuid = uuid.uuid4()


def replace_forward(patcher):
    patcher.model[0].forward = lambda x: x


def hook_forward(patcher):
    patcher.model[0].register_forward_hook(lambda *_: None)


def change_callbacks(patcher):
    patcher.callbacks = {"on": {None: [lambda: None]}}


@pytest.mark.parametrize("change", [change_sampling, change_weights, replace_forward, hook_forward, change_callbacks])
def test_what_a_model_carries_is_in_its_state(change):
    patcher = Patcher()
    before = state_of(patcher)
    assert state_of(patcher) == before != state_of(Patcher())
    change(patcher)
    assert state_of(patcher) != before
    assert state_of(patcher) == state_of(patcher)


def test_options_of_a_call_count_without_what_every_call_has_anew():
    patches = {"patches": {"input_block_patch": [change_sampling]}, "sample_sigmas": torch.tensor([2.0, 1.0])}
    given = {**patches, "uuids": [uuid.uuid4()], "sigmas": torch.ones(1), "cond_or_uncond": [1, 0]}
    assert options_of(given) == options_of(patches)
    assert options_of({**patches, "sample_sigmas": torch.tensor([2.0, 0.0])}) != options_of(patches)
    assert options_of({**patches, "patches": {"input_block_patch": [change_weights]}}) != options_of(patches)
