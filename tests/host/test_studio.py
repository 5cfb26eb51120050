"""A server whose owner asks something of every node: a workflow can ask for more, and not for less."""

from __future__ import annotations

import os
from types import SimpleNamespace

import host
import methods
import pytest
import tiny_encoders
import torch
from host import call, count_rows
from server_owner import RUN, log_lines
from test_look_then_steer import CLEAR, SEEN, RoundVAE, Script
from tiny_models import latent

from safelight.engine import studio
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.text.conditioning import as_harmless

# What a workflow could lower the least safety with.
WEAK = WeightSchedule(((0.0, 0.01), (1.0, 0.01)), start_percent=1.0)
CORNER = torch.zeros(1, 16, 16)
CORNER[:, :2, :2] = 1.0
LOWERED = {"safety": 0.0, "risk": 0.0, "gate": 1.0, "mask": CORNER, "selective": Selection()}
OF_SAMPLERS = {"LATENT", "GUIDER", "SAFELIGHT_TRACE"}  # what only nodes that make or steer a run give


@pytest.fixture
def related(pack, eps, prompts):
    """By node, how to make a guider or patch of a related method."""
    positive, _, negative = prompts
    made = {}
    for method in methods.every(pack):
        made[f"Safelight{method.name}Guider"] = lambda method=method, **s: method.guider(eps, positive, negative, **s)
        if host.has_wrappers():
            made[f"Safelight{method.name}Patch"] = lambda method=method, **s: method.patch(eps, **s)
    given = {"model": eps, "clip": tiny_encoders.fitting_clip(), "positive": positive, "negative": negative, "cfg": 5.0}
    inhibitors = pack.nodes["SafelightGrowthInhibitorsGuider"]
    made["SafelightGrowthInhibitorsGuider"] = lambda **s: call(inhibitors, **given, concepts="blood", **s)
    return made


# -- the least safety


def test_no_node_that_samples_guides_or_patches_is_forgotten(pack, ways, related):
    known = {name for name, node in pack.nodes.items() if OF_SAMPLERS & {*node.RETURN_TYPES}}
    assert known == {*ways, *related}
    assert {name for name, node in pack.nodes.items() if hasattr(node, "sampled")} <= {*ways, "SafelightEasy"}


def test_easy_is_raised_too_and_shows_no_plain_picture(pack, policy):
    demo = call(pack.nodes["SafelightDemoLoader"])

    def run(safety, prompt="a cat and a knife"):
        made = pack.nodes["SafelightEasy"]().make(*demo, prompt, safety, 5, steps=4, concepts="any weapon")
        return made["result"][:2]

    expected, plain = run(0.5)
    assert not torch.equal(expected, plain), "it has to act"
    policy(least_safety=0.5)
    image, before = run(0.0)
    assert torch.equal(image, expected) and before is image
    with pytest.raises(ValueError, match="^prompt: "):
        run(0.0, "一只猫和一把刀")


def test_no_node_goes_below_the_least_safety_whatever_the_workflow_sets(ways, policy):
    expected = ways["SafelightKSampler"](safety=0.5)
    more = ways["SafelightKSampler"](safety=0.8)
    policy(least_safety=0.5)
    for name, sample in ways.items():
        apart = 1e-3 if name == "SafelightStrip" else 0.0  # its frames share calls
        assert torch.allclose(sample(**LOWERED), expected, rtol=0.0, atol=apart), name
        assert torch.allclose(sample(safety=0.8)[:1], more, rtol=0.0, atol=apart), name
        with pytest.raises(ValueError, match="curve"):  # which is 0 from its context on
            sample(**LOWERED, schedule={"points": [[0, 1], [1, 0]], "interpolation": "step", "context": 1.0})


def test_related_methods_are_refused_at_every_strength_unless_the_owner_allows_them(related, policy):
    for keys in ({"least_safety": 0.5}, {"highest_gate": 0.5}):
        policy(**keys)
        for name, make in related.items():
            for strength in (0.0, 1.0):
                with pytest.raises(ValueError, match="strength: this server"):
                    pytest.fail(f"{name}: {make(strength=strength)}")
    policy(least_safety=0.5, related_methods=True)
    for make in related.values():
        make(strength=1.0)


def test_a_weaker_schedule_counts_nowhere_and_a_stronger_one_everywhere(pack, eps, prompts, policy):
    def weights(**settings):
        report = pack.reported(eps, *prompts, latent(), **{**RUN, **settings})[1]
        return [call["w"] for call in report["weights"]], report

    least, _ = weights(safety=0.5)
    strong, _ = weights(safety=1.0, schedule=pack.schedule())
    policy(least_safety=0.5)
    held, report = weights(safety=1.0, schedule=WEAK)
    assert held == pytest.approx([max(weight, 0.01 if weight else 0.0) for weight in least])
    assert report["context"] == pytest.approx(0.3) and any("schedule" in note for note in report["notes"])
    assert weights(safety=1.0, schedule=pack.schedule())[0] == strong
    early = pack.schedule(((0.0, 1.0), (0.2, 0.0), (1.0, 0.0)))
    both = weights(safety=1.0, schedule=early)[0]
    assert both[0] > 0.9 and both[-len(least) // 2 :] == least[-len(least) // 2 :]


def test_a_detector_of_the_workflows_that_finds_nothing_lowers_nothing(ways, pack, eps, prompts, policy):
    policy(least_safety=0.5)
    given = {"detector": Script(CLEAR), "vae": RoundVAE(), "at_least": 0.0, **LOWERED}
    samples, report = pack.reported(eps, *prompts, latent(), **{**RUN, **given})
    (picture,) = report["look"]["pictures"]
    assert picture["safety"] == report["safety"] == 0.5 and picture["passed"]
    assert not torch.equal(samples, ways["SafelightKSampler"](safety=0.0)) or report["rows"] == 0


def test_a_harmless_prompt_whose_safe_counterpart_is_itself_is_left_as_it_is(ways, prompts, policy):
    positive = prompts[0]
    plain = ways["SafelightKSampler"](safety=0.0)
    policy(least_safety=0.5)
    for name, sample in ways.items():
        assert torch.equal(sample(safety=1.0, risk=0.1, safe=positive)[:1], plain), name
        assert torch.equal(sample(safety=1.0, safe=as_harmless(positive))[:1], plain), name
        with pytest.raises(ValueError, match="safe: expected another prompt"):
            sample(safety=1.0, safe=positive)


def test_other_merges_are_refused_where_the_least_safety_holds_at_every_step(ways, policy):
    policy(least_safety=0.5)
    for merge in ("separate", "values"):
        with pytest.raises(ValueError, match=f"merge: expected .* {merge}|merge: expected .*'{merge}'"):
            ways["SafelightKSampler"](safety=1.0, merge=merge)


def test_the_report_says_what_the_workflow_asked_for_and_what_it_got(pack, eps, prompts, policy):
    policy(least_safety=0.5)
    _, report = pack.reported(eps, *prompts, latent(), safety=0.2)
    assert report["safety"] == 0.5 and report["gate"] == 0.0
    assert report["server"] == {"least_safety": 0.5, "asked_safety": 0.2, "asked_gate": 0.5}
    assert "safety 0.2 raised to 0.5, the least safety by this server." in report["notes"]


# -- the file


def test_without_the_variable_no_file_is_read_and_nothing_changes(pack, eps, prompts, policy, monkeypatch):
    policy()
    with count_rows(eps) as seen:
        samples, report = pack.reported(eps, *prompts, latent())
    assert report.pop("server")
    monkeypatch.delenv(studio.VARIABLE)
    monkeypatch.setattr(studio, "_load", lambda path: pytest.fail("read"))
    monkeypatch.setattr(studio, "_write", lambda *_: pytest.fail("written"))
    monkeypatch.setattr(studio, "os", SimpleNamespace(environ=os.environ, stat=lambda _: pytest.fail("looked for")))
    with count_rows(eps) as own:
        plain, told = pack.reported(eps, *prompts, latent(), memory=False)
    assert torch.equal(plain, samples) and own == seen
    assert {**told, "memory": report["memory"]} == report
    assert studio.version() == ""


def test_a_changed_file_counts_from_the_next_run_on(pack, ways, policy):
    sample, node = ways["SafelightKSampler"], pack.nodes["SafelightKSampler"]
    levels = {level: sample(safety=level) for level in (0.5, 0.75)}
    seen = []
    for level in (0.5, 0.75, 0.5):
        path = policy(least_safety=level)
        os.utime(path, ns=(len(seen), len(seen)))
        assert torch.equal(sample(safety=0.0), levels[level])
        seen.append(node.IS_CHANGED(safety=0.0))
    assert len({*seen}) == 3  # so that the host runs the node again


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "JSON"),
        ('{"least": 0.5}', "unknown key"),
        ('{"detectors": [{"node": "SafelightKSampler"}]}', "unknown node 'SafelightKSampler'"),
        ('{"detectors": [{"node": "SafelightCLIPVision"}]}', "unknown node 'SafelightCLIPVision'"),
        ('{"detectors": [{"node": "SafelightDemoDetector", "inputs": {"thresh": 1}}]}', "thresh: unknown input"),
        ('{"detectors": [{"node": "SafelightDemoDetector", "inputs": {"threshold": "a"}}]}', "threshold: expected"),
        ('{"detectors": [{"node": "SafelightDemoDetector", "inputs": {"threshold": 7}}]}', "threshold: expected"),
        ('{"log": "no/such/folder/log.jsonl"}', "no/such/folder"),
        ('{"webhook": "http://example.org/"}', "Nothing is sent to another machine"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cant_be_obeyed_stops_every_node(pack, ways, related, policy, text, told):
    path = policy("{}")
    path.unlink() if text is None else policy(text)
    runs = {**{name: lambda way=way: way(safety=0.0) for name, way in ways.items()}, **related}
    runs["SafelightLook"] = lambda: pack.nodes["SafelightLook"]().look(torch.zeros(1, 8, 8, 3), Script(CLEAR))
    for name, run in runs.items():
        with pytest.raises(ValueError) as error:
            run()
        assert str(path) in str(error.value) and told in str(error.value), name


# -- the server's detectors


@pytest.mark.parametrize("linked", [False, True])
def test_the_servers_detectors_look_beside_the_workflows(pack, eps, prompts, policy, script, linked):
    settings = {**RUN, "vae": RoundVAE(), "risk": 0.0, "safety": 0.0, "memory": False}
    plain = pack.ksampler(eps, *prompts, latent(), **RUN | {"safety": 0.0})
    own = {"detector": Script(*[CLEAR] * 9)} if linked else {}
    policy(least_safety=0.5, detectors=script(CLEAR, CLEAR))
    samples, report = pack.reported(eps, *prompts, latent(), **settings, **own)
    assert torch.equal(samples, plain) and report["look"]["passed"] and report["rows"] == report["plain_rows"]
    policy(least_safety=0.5, detectors=script(SEEN, CLEAR))
    samples, report = pack.reported(eps, *prompts, latent(), **settings, **own)
    assert not torch.equal(samples, plain) and report["look"]["pictures"][0]["safety"] == 0.5
    assert any("this server's detectors look" in note for note in report["notes"])


def test_what_no_level_lets_pass_is_hidden_as_the_stricter_of_both_asks(pack, eps, prompts, policy, script):
    settings = {**RUN, "vae": RoundVAE(), "risk": 0.0, "safety": 0.5}
    made = {}
    for mine, theirs in (("keep", "keep"), ("keep", "blank"), ("blur", "blank"), ("blank", "keep"), ("blank", "blur")):
        policy(detectors=script(*[SEEN] * 4), on_failure=mine)
        made[mine, theirs] = pack.ksampler(eps, *prompts, latent(), **settings, hide=theirs)
    assert all(torch.equal(made[pair], made["keep", "blank"]) for pair in made if "blank" in pair)
    assert not torch.equal(made["keep", "keep"], made["keep", "blank"])
    path = policy(detectors=script(*[SEEN] * 4), on_failure="stop", log="log.jsonl")
    with pytest.raises(ValueError, match="this server gives out no picture .* Found: a thing"):
        pack.ksampler(eps, *prompts, latent(), **settings, hide="blank")
    (line,) = log_lines(path.parent / "log.jsonl")
    assert (line["passed"], line["on_failure"]) == (False, "stop")
    policy(detectors=script(*[CLEAR] * 2), on_failure="stop")
    pack.ksampler(eps, *prompts, latent(), **settings)


def test_nodes_that_cant_look_are_refused_on_a_server_that_does(ways, related, policy, script):
    policy(detectors=script(*[CLEAR] * 20))
    for name in sorted({"SafelightGuider", "SafelightModelPatch", "SafelightStrip"} & ways.keys()):
        with pytest.raises(ValueError, match="this server looks at every picture"):
            ways[name](safety=1.0)
    for make in related.values():
        with pytest.raises(ValueError, match="strength: this server"):
            make()
    with pytest.raises(ValueError, match="vae: expected a VAE beside this server's detectors"):
        ways["SafelightKSampler"](safety=1.0)
    with pytest.raises(ValueError, match="economy: .* This server looks"):
        ways["SafelightKSampler"](safety=1.0, vae=RoundVAE(), economy="free")


def test_look_finds_what_the_servers_detectors_find(pack, policy, script):
    images, look = torch.rand(2, 32, 32, 3), pack.nodes["SafelightLook"]().look
    policy(detectors=script(CLEAR, SEEN), on_failure="blank")
    outcome = look(images, Script(CLEAR, CLEAR), "keep")
    kept, _, passed, score, _ = outcome["result"]
    assert not passed and score == SEEN and torch.equal(kept[0], images[0])
    assert bool((kept[1, 10:20, 10:20] == 0.5).all()) and "This server's" in outcome["ui"]["safelight_note"][0]
    path = policy(detectors=script(CLEAR, SEEN), on_failure="stop", log="log.jsonl")
    with pytest.raises(ValueError, match="Found: nothing; a thing"):
        look(images, Script(CLEAR, CLEAR), "keep")
    assert [line["passed"] for line in log_lines(path.parent / "log.jsonl")] == [True, False]
    script(CLEAR, CLEAR)
    assert torch.equal(look(images, Script(CLEAR, CLEAR), "keep")["result"][0], images)


def test_a_detector_of_the_file_is_made_by_its_node_with_its_defaults(policy):
    policy(
        detectors=[{"node": "SafelightDemoDetector"}, {"node": "SafelightDemoDetector", "inputs": {"threshold": 0.3}}]
    )
    assert len(studio.server().detector._detectors) == 2
