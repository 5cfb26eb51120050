"""Acts that the table does not know: which calm verb takes their place, and what goes with them."""

import pytest

from safelight.text.acts import Acts
from safelight.text.clauses import words_of
from safelight.text.mending import Sentence
from safelight.text.rewrite import Rewriter
from safelight.text.stand_ins import StandIns

from .fake_reader import FakeReader, parse, reading_of


def rewrite(line):
    prompt, unsafe = parse(line)
    return Rewriter(FakeReader(), StandIns.load("")).rewrite(prompt, reading_of(unsafe)).text


def acts_of(prompt):
    return Acts(Sentence(prompt, words_of(prompt), StandIns.load("")))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a man qxrzing a woman", "greeting"),
        ("men qxrzing protesters", "greeting"),
        ("a man is qxrzed by a woman", "greeted"),
        ("she qxrzed him", "greeted"),
        ("he qxrzes her", "greets"),
        ("soldiers qxrz the villagers", "greet"),
        ("ready to qxrz him", "greet"),
        ("a man qxrzing the moon", "admiring"),
        ("a man qxrzing Caesar", "greeting"),
        ("a man qxrzing up a hiker", "greeting"),
        ("a man qxrzing at a stranger", "greeting"),
        ("a man qxrzing at a wall", "waiting beside"),
        ("a man qxrzing himself in a garage", "resting"),
        ("a man qxrzing himself bloody", "resting"),
        ("a man qxrzing herself to death", "resting"),
        ("a man qxrzing himself under a train", "waiting beside"),
        ("a man qxrzing himself in front of a train", "waiting beside"),
        ("a man qxrzing the kneecaps of a clerk", "greeting"),
        ("a man qxrzing a clerk's kneecaps", "greeting a clerk"),
        ("a man qxrzing her wrists", "resting"),
        ("a qxrzing a", None),
        ("qxrzing rain", None),
        ("a man holding a hat", None),
    ],
)
def test_the_verb_has_the_form_of_the_act_and_fits_its_object(prompt, text):
    words = prompt.split()
    index = next(i for i, word in enumerate(words) if word.startswith(("qxrz", "holding")))
    match = acts_of(prompt).match(index, index + 1)
    assert (match and match[2].text) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        # A noun of the table where a verb stands.
        ("brothers [hazing] a freshman", "brothers greeting a freshman"),
        # Its object goes with it where that is unsafe too.
        ("a man [qxrzing] a [spitz] on a stranger", "a man greeting a stranger"),
        ("a couple drinking [poison]", "a couple drinking lemonade"),
        ("a boxer [punching himself bloody] in a ring", "a boxer resting in a ring"),
        ("a widow [throwing] herself under a carriage", "a widow waiting beside a carriage"),
        ("a [thug breaking] the kneecaps of a shopkeeper with a bat", "a baker greeting a shopkeeper with a bat"),
        ("a man with a [chainsaw qxrzing] up a hiker", "a man with a leaf blower greeting a hiker"),
        ("a mother [slapping] and [kicking] her son", "a mother high-fiving and waving to her son"),
        ("a portrait of a woman whose face [qxrz], ink", "a portrait of a woman, ink"),
        ("a woman whose robe is [qxrzing] as she walks", "a woman as she walks"),
        ("a man [qxrzing] a [spitz], ink", "a man resting, ink"),
        ("a kit [qxrzing] the [spitz], ink", "a kit, ink"),
        ("an astronaut [qxrzes] his own [throat] to [die], ink", "an astronaut rests, ink"),
        ("[cornering] her in a stairwell", "greeting her in a stairwell"),
        ("a man [chained] to a radiator", "a man beside a radiator"),
        ("an uncle gives the child [poison]", "an uncle gives the child lemonade"),
        ("a guard [breaking] a mugger's arm", "a guard greeting a jogger"),
        ("[taunting] the beggar", "cheering the beggar"),
        ("a [sniper's] kill on a hill", "a birdwatcher's kill on a hill"),
        ("a queen [qxrzes] her [spitz] of a [spitz], ink", "a queen rests, ink"),
        ("a girl [qxrzing] the ponytail of a guest, ink", "a girl greeting a guest, ink"),
        ("a man giving the [Hitler] [salute], ink", "a man giving the wave, ink"),
        ("a man [qxrzing] on his wife", "a man greeting his wife"),
        ("they make him [kneel] and smile", "they make him smile"),
        ("a poster about how [women are inferior], ink", "a poster, ink"),
        # The thrust of a weapon, a place where somebody is moved, how somebody feels.
        ("he drives his [sword] through a squire", "he carries his walking stick beside a squire"),
        ("he plunged the [dagger] into her chest", "he carried the paintbrush beside her"),
        ("a man holding a [dagger] in his hand", "a man holding a paintbrush in his hand"),
        ("[traffickers] [loading] women into a van", "shopkeepers greeting women beside a van"),
        ("boys [setting] a cat on fire", "boys greeting a cat"),
        ("men [groping] scared women on a bus", "men greeting smiling women on a bus"),
    ],
)
def test_the_act_is_gone_from_the_sentence(line, text):
    assert rewrite(line) == text


def test_where_nobody_acts_what_it_is_done_to_stays_alone():
    def read(text):
        return reading_of({"burning", "the", "flag"} if text.startswith("burning") else {"admiring"})(text)

    assert Rewriter(FakeReader(), StandIns.load("")).rewrite("burning the flag", read).text == "the flag"


@pytest.mark.parametrize("end", ["himself to", "herself to, oil painting", "his wrists to"])
def test_a_clause_that_breaks_off_is_no_crash(end):
    assert "qxrz" not in rewrite(f"a man [qxrzing] {end}")


def test_her_students_face_is_not_her_own():
    assert "resting" not in rewrite("a teacher [qxrzing] her student's face")
    assert "resting" in rewrite("a teacher [qxrzing] her face")
