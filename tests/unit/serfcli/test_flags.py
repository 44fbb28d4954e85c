"""Flags as Go's flag package reads them."""

import pytest

from moot.agent.serf import flags
from moot.agent.serf.flags import FlagError, Given, HelpWanted, parse, tag_pairs

SOME = {
    "name": flags.text("none"),
    "tag": flags.texts(),
    "also": flags.texts(into="tag"),
    "on": flags.switch(),
    "off": flags.switch(True),
    "count": flags.number(1),
    "wait": flags.duration(),
}


def read(*words: str) -> Given:
    return parse(SOME, words)


def test_what_is_not_given_has_its_default() -> None:
    given = read()
    assert (given.text("name"), given.texts("tag"), given.switch("on"), given.switch("off")) == (
        "none",
        (),
        False,
        True,
    )
    assert (given.number("count"), given.number("wait"), given.rest) == (1, 0, [])


@pytest.mark.parametrize("words", [("-name", "x"), ("--name", "x"), ("-name=x",), ("--name=x",)])
def test_one_dash_or_two_an_equals_sign_or_a_blank(words: tuple[str, ...]) -> None:
    assert read(*words).text("name") == "x"


def test_the_last_one_wins_and_lists_grow_in_order_across_their_flags() -> None:
    given = read("-name=a", "-tag=1", "-also=2", "-name", "b", "-tag", "3")
    assert (given.text("name"), given.texts("tag")) == ("b", ("1", "2", "3"))


def test_a_value_may_look_like_a_flag_or_be_empty_or_hold_equals_signs() -> None:
    assert read("-name", "-on").text("name") == "-on"
    assert read("-name", "--").text("name") == "--"
    assert read("-name=").text("name") == ""
    assert read("-name=a=b=c").text("name") == "a=b=c"


def test_a_switch_takes_no_next_word() -> None:
    given = read("-on", "false", "-name=x")
    assert given.switch("on")
    assert given.rest == ["false", "-name=x"]


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_a_switch_is_turned_on(text: str) -> None:
    assert read(f"-on={text}").switch("on")


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_a_switch_is_turned_off(text: str) -> None:
    assert not read(f"-off={text}").switch("off")


def test_the_first_other_word_ends_the_flags_and_so_does_a_double_dash() -> None:
    assert read("-on", "x", "-off=false").rest == ["x", "-off=false"]
    assert read("-on", "-", "-off=false").rest == ["-", "-off=false"]
    assert read("-on", "--", "-off=false").rest == ["-off=false"]
    assert read("", "-on").rest == ["", "-on"]


def test_numbers_and_durations_are_read() -> None:
    given = read("-count=0x10", "-wait=1.5s")
    assert (given.number("count"), given.number("wait")) == (16, 1_500_000_000)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-bogus"], "flag provided but not defined: -bogus"),
        (["--bogus=1"], "flag provided but not defined: -bogus"),
        (["-name"], "flag needs an argument: -name"),
        (["---name"], "bad flag syntax: ---name"),
        (["-=x"], "bad flag syntax: -=x"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-on=maybe"], 'invalid boolean value "maybe" for -on: parse error'),
        (["-on="], 'invalid boolean value "" for -on: parse error'),
        (["-count=x"], 'invalid value "x" for flag -count: parse error'),
        (
            ["-count", "99999999999999999999"],
            'invalid value "99999999999999999999" for flag -count: value out of range',
        ),
        (["-wait=5"], 'invalid value "5" for flag -wait: parse error'),
        (["-wait=\n"], r'invalid value "\n" for flag -wait: parse error'),
    ],
)
def test_what_cannot_be_read_is_refused_in_gos_words(words: list[str], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        read(*words)
    assert str(caught.value) == text


@pytest.mark.parametrize("word", ["-h", "--help", "-help=x"])
def test_help_is_known_where_no_flag_has_that_name(word: str) -> None:
    with pytest.raises(HelpWanted):
        read(word)


def test_tags_need_a_name_and_an_equals_sign() -> None:
    assert tag_pairs(["a=1", "b=", "a=2=3"]) == {"a": "2=3", "b": ""}
    for word in ("", "a", "=x"):
        with pytest.raises(ValueError, match=f"^Invalid tag: '{word}'$"):
            tag_pairs([word])
