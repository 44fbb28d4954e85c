"""Event filters: which events the words of a filter mean."""

import pytest

from moot.agent.event_filter import KINDS, parse_event_filters


@pytest.mark.parametrize("text", ["*", "", "user,*", "*,*"])
def test_a_star_and_nothing_at_all_mean_everything(text: str) -> None:
    wanted = parse_event_filters(text)
    assert all(wanted.matches(kind, "any") for kind in KINDS)


def test_a_kind_means_all_events_of_that_kind_and_no_others() -> None:
    for kind in KINDS:
        wanted = parse_event_filters(kind)
        assert [other for other in KINDS if wanted.matches(other, "n")] == [kind]


@pytest.mark.parametrize("kind", ["user", "query"])
def test_a_name_after_a_colon_means_events_of_that_name(kind: str) -> None:
    wanted = parse_event_filters(f"{kind}:deploy")
    assert wanted.matches(kind, "deploy")
    assert not wanted.matches(kind, "deploy2")
    assert not wanted.matches(kind)
    assert not wanted.matches("member-join", "deploy")


def test_an_empty_name_means_all_names() -> None:
    assert parse_event_filters("user:").matches("user", "deploy")


def test_a_name_may_hold_colons_and_blanks() -> None:
    assert parse_event_filters("user:a:b c").matches("user", "a:b c")


def test_any_of_several_words_suffices() -> None:
    wanted = parse_event_filters("member-join,member-failed,user:deploy")
    assert wanted.matches("member-failed")
    assert wanted.matches("user", "deploy")
    assert not wanted.matches("member-leave")
    assert not wanted.matches("user", "other")


@pytest.mark.parametrize(
    "text", ["bogus", "user,", ",", " user", "User", "member-join:x", "*:x", "member", "query:a,frob:b"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no event filter"):
        parse_event_filters(text)
