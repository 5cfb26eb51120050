"""What of a prompt is markup."""

import pytest

from safelight.text.clauses import words_of
from safelight.text.markup import SEPARATORS, plain_text

SEPARATING = SEPARATORS.strip("(?:)").split("|")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("(naked:1.2) cat", "naked cat"),
        ("((gore)) [rain]", "gore rain"),
        ("embedding:bad-hands.pt cat", "cat"),
        ("<lora:gore_style:0.8> cat <hypernet:x:1>", "cat"),
        ("__animals/wild*__ cat", "cat"),
        ("cat BREAK dog AND rain", "cat dog rain"),
        ("long_hair, 1girl", "long hair , 1girl"),
        ("{2$$red|blue} cat", ", red , blue , cat"),
        (r"cat \(animal\)", "cat animal"),
        ("time 12:30 (x:.5)", "time 12 : 30 x"),
    ],
)
def test_words_are_what_is_no_markup(prompt, words):
    assert " ".join(word.text for word in words_of(prompt)) == words


@pytest.mark.parametrize("word", SEPARATING)
def test_a_separator_is_markup_in_capitals_and_alone(word):
    assert [one.text for one in words_of(f"cat {word} dog")] == ["cat", "dog"]
    for text in (word.lower(), word.capitalize(), f"{word}S", f"x{word}"):
        assert [one.text for one in words_of(f"cat {text} dog")] == ["cat", text, "dog"]


@pytest.mark.parametrize("prompt", ["(a:1.2) {b|c}", "<lora:x:1> __y__\n embedding:z", "", "\\(a\\)_b_c"])
def test_every_sign_keeps_its_place(prompt):
    plain = plain_text(prompt)
    assert len(plain) == len(prompt)
    assert all(new in (old, " ", ",") for new, old in zip(plain, prompt, strict=True))
