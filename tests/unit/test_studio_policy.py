"""The policy of a server's owner as data: a workflow can ask for more, and not for less."""

from __future__ import annotations

import json

import pytest
import torch

from safelight.guidance.schedule import PRESETS, WeightSchedule
from safelight.guidance.selective import Selection
from safelight.guidance.settings import read_settings
from safelight.studio.policy import ON_FAILURE, DetectorChoice, Policy, read_policy

EYE = DetectorChoice("SafelightNudeNet")


def under(policy, safety=0.2, schedule=None, risk=1.0, gate=0.5, mask=None, selective=None, economy="off", looks=False):
    return policy.read_settings(safety, schedule, risk, gate, mask, selective, economy, looks)


def test_an_empty_policy_leaves_every_input_as_it_is():
    given = {"safety": 0.3, "risk": 0.2, "gate": 0.4, "economy": "free", "schedule": PRESETS["bell"]}
    held, own = under(Policy(), **given), read_settings(**given)
    names = ("safety", "schedule", "risk", "gate", "mask", "notes", "selective", "economy")
    assert [getattr(held, name) for name in names] == [getattr(own, name) for name in names]
    assert held.server.least is None


@pytest.mark.parametrize(("asked", "used"), [(0.0, 0.5), (0.2, 0.5), (0.5, 0.5), (0.8, 0.8)])
@pytest.mark.parametrize("detectors", [(), (EYE,)])
def test_the_least_safety_raises_the_slider_and_never_lowers_it(asked, used, detectors):
    held = under(Policy(least_safety=0.5, detectors=detectors), safety=asked)
    assert (held.safety, held.server.asked_safety) == (used, asked)
    assert any("least safety" in note and "0.5" in note for note in held.notes)
    assert any(f"safety {asked:g} raised" in note for note in held.notes) == (asked < used)


@pytest.mark.parametrize("risk", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("gate", [0.0, 0.5, 1.0])
def test_where_no_detector_of_the_servers_looks_no_gate_closes(risk, gate):
    held = under(Policy(least_safety=0.5), risk=risk, gate=gate)
    assert held.acts and held.gate == 0.0
    assert held.text_harmless == (risk < gate)  # its safe counterpart may still be the prompt itself


def test_where_the_servers_detectors_look_the_workflow_sets_the_gate_up_to_the_highest():
    assert not under(Policy(least_safety=0.5, detectors=(EYE,)), risk=0.3).acts
    assert under(Policy(least_safety=0.5, detectors=(EYE,), highest_gate=0.3), risk=0.3).acts
    assert under(Policy(highest_gate=0.3), gate=0.1).gate == 0.1


def test_the_least_safety_holds_in_the_whole_picture():
    chosen = {"mask": torch.eye(8)[None], "selective": Selection()}
    held = under(Policy(least_safety=0.5), **chosen)
    assert held.mask is None and held.selective is None
    assert [note.split()[0] for note in held.notes if "left out" in note] == ["mask", "selective"]
    judged = under(Policy(least_safety=0.5, detectors=(EYE,)), **chosen)
    assert judged.mask is not None and judged.selective is not None


@pytest.mark.parametrize("looks", [False, True])
def test_a_linked_schedule_counts_where_it_is_stronger_than_the_nodes_own(looks):
    weak = WeightSchedule(((0.0, 0.01), (1.0, 0.01)), start_percent=0.9, axis="steps")
    held = under(Policy(least_safety=0.5), schedule=weak, safety=1.0, looks=looks)
    assert held.schedule == weak and held.safety == 1.0 and any("schedule" in note for note in held.notes)
    least = held.server.least
    assert (least.safety, least.schedule.axis) == (0.5, "steps")
    assert least.schedule.points == read_settings(0.5, looks=looks).schedule.points
    strong = under(Policy(least_safety=0.5), schedule=PRESETS["maximum"], safety=0.5)
    assert not any("schedule" in note for note in strong.notes)


def test_of_two_ways_with_a_failed_picture_the_stricter_one_counts():
    for mine in ON_FAILURE:
        for theirs in ON_FAILURE[:3]:
            assert ON_FAILURE.index(Policy(on_failure=mine).hide(theirs)) == max(
                ON_FAILURE.index(mine), ON_FAILURE.index(theirs)
            )


def test_a_strip_shows_no_level_below_the_least():
    assert Policy(least_safety=0.5).levels((0.0, 0.25, 1.0, 0.5)) == (0.5, 1.0)


def test_a_risky_text_begins_at_the_least_safety_where_no_detector_of_the_servers_looks():
    assert Policy(least_safety=0.7).at_least(0.0) == 0.7 and Policy(least_safety=0.7).at_least(0.9) == 0.9
    assert Policy(least_safety=0.7, detectors=(EYE,)).at_least(0.0) == 0.0


def test_a_file_is_read_with_all_its_keys():
    text = {
        "least_safety": 0.5,
        "highest_gate": 0.2,
        "detectors": [{"node": "SafelightNudeNet", "inputs": {"threshold": 0.3}}, {"node": "SafelightDemoDetector"}],
        "on_failure": "stop",
        "related_methods": True,
        "log": "pictures.jsonl",
        "webhook": "http://localhost:8000/seen?from=here",
    }
    policy = read_policy(json.dumps(text))
    assert policy.detectors == (
        DetectorChoice("SafelightNudeNet", {"threshold": 0.3}),
        DetectorChoice("SafelightDemoDetector", {}),
    )
    assert (policy.webhook.host, policy.webhook.port, policy.webhook.path) == ("127.0.0.1", 8000, "/seen?from=here")
    plain = (policy.least_safety, policy.highest_gate, policy.on_failure, policy.related_methods, policy.log)
    assert plain == (0.5, 0.2, "stop", True, "pictures.jsonl")
    assert read_policy("{}") == Policy()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1"),
        ("[]", "object"),
        ('{"least_safety": 0.5,}', "line 1"),
        ('{"least_saftey": 0.5}', "least_saftey: unknown key"),
        ('{"least_safety": 0.5, "least_safety": 0}', "least_safety: expected each key once"),
        ('{"least_safety": "0.5"}', "least_safety: expected a number"),
        ('{"least_safety": NaN}', "least_safety: expected a finite number"),
        ('{"least_safety": 1.5}', "least_safety: expected a number from 0 to 1"),
        ('{"least_safety": 1e-9}', "least_safety: expected 0 or at least"),
        ('{"highest_gate": true}', "highest_gate: expected a number"),
        ('{"detectors": {"node": "SafelightNudeNet"}}', "detectors: expected a list"),
        ('{"detectors": ["SafelightNudeNet"]}', "detectors: detector 1: expected an object"),
        ('{"detectors": [{"node": "A", "input": {}}]}', 'detectors: detector 1: expected "node"'),
        ('{"detectors": [{"node": "A", "inputs": []}]}', "detectors: detector 1: inputs: expected an object"),
        ('{"on_failure": "delete"}', "on_failure: unknown choice"),
        ('{"on_failure": ["keep"]}', "on_failure: unknown choice"),
        ('{"related_methods": 1}', "related_methods: expected true or false"),
        ('{"log": ""}', "log: expected the path"),
        ('{"webhook": 7}', "webhook: expected http://127.0.0.1"),
    ],
)
def test_what_cant_be_read_is_an_error_that_names_the_key(text, told):
    with pytest.raises(ValueError) as error:
        read_policy(text)
    assert told in str(error.value)
