"""Changing words of a prompt and nothing else."""

from safelight.text.clauses import words_of
from safelight.text.splicing import Change, Draft, applied, origin


def test_a_draft_without_edits_changes_nothing():
    for prompt in ("a cat,, b ()", "", "An  a, (x:1.2) {}|", '"" \n'):
        assert Draft(prompt, words_of(prompt)).changes() == []


def test_signs_that_were_empty_before_stay():
    prompt = "(), cat, gore, {}, [ ]"
    words = words_of(prompt)
    draft = Draft(prompt, words)
    gore = next(i for i, word in enumerate(words) if word.text == "gore")
    draft.replace(gore, gore + 1, "")
    assert applied(prompt, draft.changes()) == "(), cat, {}, [ ]"


def test_places_lead_back_to_the_prompt():
    prompt = "a man with a bloody axe in rain"
    changes = [Change(2, 5, "man", "person"), Change(11, 23, "a bloody axe", "guitar")]
    text = applied(prompt, changes)
    assert text == "a person with guitar in rain"
    assert origin(changes, text.index("rain")) == prompt.index("rain")
    assert origin(changes, text.index("with")) == prompt.index("with")
    assert origin(changes, text.index("guitar") + 3) == 11
