"""SafelightPrompt: a prompt, its safe counterpart and its risk as text, for any text node."""

from __future__ import annotations

import json
import math

import host
import pytest

from safelight.text.concepts import DEFAULT_CONCEPTS

PROMPT = "a cat and a (knife:1.2),\non a green table"
CONCEPTS = "weapon, blood"


@pytest.fixture
def read(pack):
    """A call of the node: (prompt, safe prompt, risk, words, what it tells the artist)."""

    def run(prompt=PROMPT, **inputs):
        found = pack.nodes["SafelightPrompt"]().read(prompt, **{"concepts": CONCEPTS, **inputs})
        return *found["result"], json.loads(found["ui"]["safelight_verdict"][0])

    return run


def test_the_unsafe_word_is_replaced_and_the_rest_stays_to_the_sign(read):
    prompt, safe_prompt, risk, words, _ = read()
    assert (prompt, safe_prompt) == (PROMPT, PROMPT.replace("knife", "spoon"))
    assert risk >= 0.5 and words == "knife"


def test_every_unsafe_word_is_named_once(read):
    *_, words, verdict = read("a knife and a gun, a knife and a sword on a table")
    assert words == "knife, gun, sword" and verdict["words"] == ["knife", "gun", "sword"]


@pytest.mark.parametrize("text", ["a cat on a green table", "  (a cat:1.2),\n\n", "", "embedding:knife", "!?"])
def test_a_prompt_with_nothing_unsafe_is_its_own_safe_prompt(read, text):
    prompt, safe_prompt, risk, words, verdict = read(text)
    assert prompt == safe_prompt == text and risk < 0.5 and words == ""
    assert any("Nothing unsafe was found" in note for note in verdict["notes"])


def test_the_safe_prompt_is_harmless_and_its_own_safe_prompt(read):
    for text in (PROMPT, "a gun and a pool of blood on a street", "blood on a knife"):
        safe_prompt = read(text)[1]
        again = read(safe_prompt)
        assert again[1] == safe_prompt != text and again[2] < 0.5 and again[3] == ""


def test_the_default_concepts_are_all_of_i2p(pack):
    node = pack.nodes["SafelightPrompt"]()
    text = "a naked woman on a green sofa"
    assert node.read(text)["result"] == node.read(text, concepts=DEFAULT_CONCEPTS)["result"]
    assert node.read(text)["result"][2] >= 0.5 and node.read(text, concepts="spiders")["result"][2] < 0.5


def test_own_stand_ins_go_first_and_leave_out(read):
    assert read(stand_ins="knife = pink umbrella")[1] == PROMPT.replace("knife", "pink umbrella")
    left_out = read("a cat and a green knife on a table", stand_ins="green knife =")[1]
    assert "knife" not in left_out and "cat" in left_out and left_out.endswith("on a table")
    assert read("a cat on a table", stand_ins="table = sofa")[1] == "a cat on a sofa", "harmless words too"


def test_a_typed_safe_prompt_is_taken_as_it_is(read):
    for typed in ("a dog\n(on a chair:1.3)", " a spoon ", "沙发上的花瓶"):
        prompt, safe_prompt, risk, words, verdict = read(safe_prompt=typed, stand_ins="knife = umbrella")
        assert (prompt, safe_prompt, words) == (PROMPT, typed, "knife") and risk >= 0.5
        assert (verdict["method"], verdict["safe_prompt"], verdict["changes"]) == ("typed", typed, [])
    assert read(safe_prompt=" \n")[4]["method"] == "rewrite"


def test_a_typed_safe_prompt_that_guards_nothing_is_said_to(read):
    assert any("would guard nothing" in note for note in read(safe_prompt=PROMPT)[4]["notes"])
    assert any("unsafe itself (gun)" in note for note in read(safe_prompt="a gun on a table")[4]["notes"])
    assert read(safe_prompt="a dog")[4]["notes"] == []


FOREIGN = {
    "Chinese": "桌子上的刀",
    "Cyrillic": "кошка с ножом на столе",
    "Arabic": "سكين على الطاولة",
    "German": "eine nackte Frau mit einem Messer auf dem Tisch in der Küche",
    "French": "une femme nue avec un couteau sur la table de la cuisine",
    "mixed": "a cat and a 血まみれ knife on a table",
}


@pytest.mark.parametrize("text", list(FOREIGN.values()), ids=list(FOREIGN))
def test_other_languages_need_a_typed_safe_prompt(read, text):
    with pytest.raises(ValueError, match="^prompt: expected English, .*Write a safe_prompt"):
        read(text)
    prompt, safe_prompt, risk, _, verdict = read(text, safe_prompt="a cat on a table")
    assert (prompt, safe_prompt, risk) == (text, "a cat on a table", 1.0)
    assert any(note.startswith("risk is 1: ") for note in verdict["notes"])


@pytest.mark.parametrize("text", ["a café in Málaga, señorita, façade", "a cat 🐈 with flowers 💐", "3.5mm f/1.8 α"])
def test_names_and_signs_are_no_other_language(read, text):
    assert read(text)[1] == text


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a cat"]}, "prompt"),
        ({"safe_prompt": 3}, "safe_prompt"),
        ({"concepts": ""}, "concepts"),
        ({"concepts": " ,;\n "}, "concepts"),
        ({"concepts": "", "safe_prompt": "a dog"}, "concepts"),
        ({"concepts": None}, "concepts"),
        ({"stand_ins": None}, "stand_ins"),
        ({"stand_ins": "knife"}, "stand_ins"),
        ({"stand_ins": "cat = dog\n= spoon"}, "stand_ins"),
        ({"false_alarms": math.nan}, "false_alarms"),
        ({"false_alarms": "many"}, "false_alarms"),
        ({"false_alarms": True}, "false_alarms"),
        ({"false_alarms": 0.0}, "false_alarms"),
        ({"false_alarms": 1.0}, "false_alarms"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_input(read, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        read(**inputs)


def test_the_verdict_is_json_of_what_the_node_gives(read):
    _, safe_prompt, risk, words, verdict = read()
    assert list(verdict) == ["risk", "method", "words", "notes", "safe_prompt", "changes"]
    assert verdict["risk"] == round(risk, 4) and verdict["words"] == [words]
    assert verdict["safe_prompt"] == safe_prompt and verdict["changes"] == ["spoon"]
    assert verdict["method"] == "rewrite" and all(isinstance(note, str) for note in verdict["notes"])


def test_the_verdict_keeps_letters_of_every_script(pack):
    found = pack.nodes["SafelightPrompt"]().read("a knife", safe_prompt="沙发", concepts=CONCEPTS)
    assert "沙发" in found["ui"]["safelight_verdict"][0]


def test_the_hosts_own_node_encodes_both_outputs(pack):
    """They are texts, so that any text node takes them."""
    node = pack.nodes["SafelightPrompt"]
    assert node.RETURN_TYPES[:2] == ("STRING", "STRING") and node.RETURN_NAMES[:2] == ("prompt", "safe_prompt")
    assert host.base_nodes.CLIPTextEncode.INPUT_TYPES()["required"]["text"][0] == "STRING"
    assert host.validation_errors(node, prompt=PROMPT) == []
