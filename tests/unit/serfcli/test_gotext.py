"""Texts in Go's forms; expected values are what Go prints."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.serf.gotext import columns, duration_text, go_value, json_text, parse_duration, parse_integer, quote

MS = 10**6
SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("15s", 15 * SECOND),
        ("+5m", 300 * SECOND),
        ("-1.5h", -5400 * SECOND),
        ("1h2m3.5s", 3723 * SECOND + 500 * MS),
        (".5s", 500 * MS),
        ("5.s", 5 * SECOND),
        ("100us", 100_000),
        ("100µs", 100_000),
        ("1ns", 1),
        ("0.3ns", 0),
    ],
)
def test_a_duration_is_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("x", 'time: invalid duration "x"'),
        (".s", 'time: invalid duration ".s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        ("5 s", 'time: unknown unit " s" in duration "5 s"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (500 * MS, "500ms"),
        (1500 * MS, "1.5s"),
        (30 * SECOND, "30s"),
        (60 * SECOND, "1m0s"),
        (3600 * SECOND, "1h0m0s"),
        (-90 * SECOND, "-1m30s"),
    ],
)
def test_a_duration_is_written(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_duration_comes_back(nanoseconds: int) -> None:
    assert parse_duration(duration_text(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("-5", -5), ("+7", 7), ("0x1F", 31), ("0b11", 3), ("0o17", 15), ("017", 15), ("1_000", 1000)],
)
def test_an_integer_is_read_in_every_notation(text: str, value: int) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize("text", ["", " 1", "1 ", "x", "08", "1__0", "_1", "1.0", "0x", "٣"])
def test_what_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^parse error$"):
        parse_integer(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "0xffffffffffffffffff"])
def test_an_integer_beyond_64_bits_is_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"^value out of range$"):
        parse_integer(text)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('a "b" \\', r'"a \"b\" \\"'),
        ("tab\tnew\nline", r'"tab\tnew\nline"'),
        ("wörld\x01\x7f", r'"wörld\x01\x7f"'),
        ("\u2028\U000e0001\xa0", r'"\u2028\U000e0001\u00a0"'),
        ("\udcff", r'"\xff"'),
    ],
)
def test_a_text_is_quoted(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        (127, "127"),
        (128, "0x80"),
        ("a", '"a"'),
        (b"x\ny", "[]byte{0x78, 0xa, 0x79}"),
        (
            [{"Addr": b"\x7f\x63", "Port": 7946, "Tags": {"z": "ü", "a": "b"}}],
            '[]interface {}{map[interface {}]interface {}{"Addr":[]uint8{0x7f, 0x63}, "Port":0x1f0a,'
            ' "Tags":map[interface {}]interface {}{"a":"b", "z":"ü"}}}',
        ),
    ],
)
def test_a_decoded_value_is_shown(value: object, text: str) -> None:
    assert go_value(value) == text


def test_json_is_escaped_for_html_and_has_no_short_forms_of_rare_controls() -> None:
    text = json_text({"h": '<&>"é\nx\b\f\\b\x7f\u2028\udcff'})
    assert text == '{\n  "h": "\\u003c\\u0026\\u003e\\"é\\nx\\u0008\\u000c\\\\b\x7f\\u2028\\ufffd"\n}'


def test_columns_are_as_wide_as_their_widest_cell_and_the_last_one_is_not_filled_up() -> None:
    lines = ["a| b |c", "üüüü|x|", "a|b|c|d", ""]
    assert columns(lines) == ["a     b  c", "üüüü  x  ", "a     b  c  d", ""]
