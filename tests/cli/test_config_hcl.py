"""HCL as Nomad's agents write it: what it means, and what is said about what it cannot mean."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.agent.hcl import LABELS_MAX, Block, HclError, parse
from moot.agent.hcl_scanner import DEPTH_MAX, PIECES_MAX


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", {}),
        ('a = "x"', {"a": "x"}),
        ("a = 1\nb = -2\nc = 1.5\nd = 1e3", {"a": 1, "b": -2, "c": 1.5, "d": 1e3}),
        ("a = true\nb = false\nc = null", {"a": True, "b": False, "c": None}),
        ('a = ["x", 1, ["y"], { b = 2 }]', {"a": ["x", 1, ["y"], {"b": 2}]}),
        ('a = [\n  "x",\n  "y", # last\n]', {"a": ["x", "y"]}),
        ("a { b = 1 }", {"a": [{"b": 1}]}),
        ("a = { b = 1 }", {"a": {"b": 1}}),
        ("a { b = 1 c = 2 }", {"a": [{"b": 1, "c": 2}]}),
        ("a { b = 1, c = 2, }", {"a": [{"b": 1, "c": 2}]}),
        ("a\n{\n  b = 1\n}", {"a": [{"b": 1}]}),
        ("a =\n  1", {"a": 1}),
        ("a { b = 1 }\na { b = 2 }", {"a": [{"b": 1}, {"b": 2}]}),
        ("a = { b = 1 }\na { b = 2 }", {"a": [{"b": 1}, {"b": 2}]}),
        ('a "b" { c = 1 }', {"a": [{"b": [{"c": 1}]}]}),
        ('a "b" "c" { }\na "d" { }', {"a": [{"b": [{"c": [{}]}]}, {"d": [{}]}]}),
        ('"a" = 1\n"b c" { "d/e" = 2 }', {"a": 1, "b c": [{"d/e": 2}]}),
        ('a = { "b" = 1, "c" : 2 }', {"a": {"b": 1, "c": 2}}),
        ("a { driver.raw_exec.enable = 1 }", {"a": [{"driver.raw_exec.enable": 1}]}),
        ("for = 1\nif { in = 2 }", {"for": 1, "if": [{"in": 2}]}),
        ("# a = 1\n// b = 2\n/* c = 3\n*/ d = 4 # e", {"d": 4}),
        ('a = "# // /* no comment" # but this is', {"a": "# // /* no comment"}),
        ('a = "{{ GetInterfaceIP \\"eth0\\" }}"', {"a": '{{ GetInterfaceIP "eth0" }}'}),
        ('a = "${b "c" {d}} %{ e"', {"a": '${b "c" {d}} %{ e'}),
        ('a = "\\n\\t\\"\\\\\\x41\\101\\u00e9\\U0001f600"', {"a": '\n\t"\\AAé😀'}),
        ("a = <<EOF\nx\n  y\nEOF\nb = 1", {"a": "x\n  y\n", "b": 1}),
        ("a = <<-EOF\n    x\n      y\n\n    EOF\nb = 1", {"a": "x\n  y\n\n", "b": 1}),
        ("a = [<<X\ny\nX\n, 1]", {"a": ["y\n", 1]}),
        ("\ufeffa = 1\r\nb = 2\r\n", {"a": 1, "b": 2}),
    ],
)  # fmt: skip
def test_it_means_what_nomad_takes_it_for(text: str, tree: object) -> None:
    assert parse(text) == tree


def test_the_line_of_each_key_is_known() -> None:
    tree = parse('a = 1\n\n/* x\n y */ "b" {\n  c = <<E\n\nE\n  d = 1\n}\n')
    inner = tree["b"]
    assert tree.lines == {"a": 1, "b": 4}
    assert isinstance(inner, list)
    assert isinstance(inner[0], Block)
    assert inner[0].lines == {"c": 5, "d": 8}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = ", 1, "the end of the file is not expected here"),
        ("\na = 1 2", 2, "'2' is not expected here"),
        ("a {\n", 1, "this '{' is not closed"),
        ("a = [1,\n}", 2, "this '}' closes nothing"),
        ("]", 1, "this ']' closes nothing"),
        ('a = 1\nb = "x\ny"', 2, "this text is not closed in its line"),
        ('a = "${', 1, "this text is not closed in its line"),
        ("/* x", 1, "this comment is not closed"),
        ("a = <<EOF\nx", 1, "there is no end EOF of the text that begins here"),
        ('a = "\\q"', 1, "\\q means nothing in a text"),
        ('a = "\\ud800"', 1, "is no character"),
        ("a = b", 1, "'b' is no value; texts stand in quotes"),
        ("a = 'x'", 1, "is not expected here"),
        ('a = upper("x")', 1, "only plain values"),
        ("a = 1 + 1", 1, "only plain values"),
        ("a = true ? 1 : 2", 1, "only plain values"),
        ("a = [for x in y : x]", 1, "only plain values"),
        ("a {\n b = 1\n b = 2\n}", 3, "the key b is there twice in one block"),
        ("a {}\na = 1", 2, "the key a is there twice in one block"),
        ("a = 0x10", 1, "is not expected here"),
        ("a = " + "9" * 5000, 1, "this number is too long"),
        ("a = " + "[" * (DEPTH_MAX + 1), 1, "nested too deeply"),
        ("a\n" + "{ a " * (DEPTH_MAX + 1), 2, "nested too deeply"),
        ("a " + '"b" ' * (LABELS_MAX + 1) + "{}", 1, f"at most {LABELS_MAX} names"),
        ("a = [\n" + "1,\n" * PIECES_MAX + "]", PIECES_MAX // 3, f"at most {PIECES_MAX}"),
        ("\0", 1, "is not expected here"),
    ],
)
def test_what_it_cannot_mean_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(HclError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert abs(caught.value.line - line) <= (1 if line > 100 else 0)


def test_a_text_where_none_belongs_is_not_repeated_as_it_may_be_a_secret() -> None:
    with pytest.raises(HclError, match="a text in quotes is not expected here"):
        parse('encrypt = 1 "a-secret"')


@pytest.mark.parametrize(
    "piece", ["/* ", "a = <<X\n", '"', "${", '"${', "a {}\n", 'a "', "\\", "# x\n", "<<A\n<<B\n"]
)
def test_no_file_takes_long_to_be_refused(piece: str) -> None:
    begun = time.monotonic()
    with pytest.raises(HclError):
        parse(piece * 200_000)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("piece", ["1+", "a[0]", "x?y:", "[],", "-1 ", "a.b." * 25])
def test_no_expression_takes_long_or_digs_deep(piece: str) -> None:
    begun = time.monotonic()
    with pytest.raises(HclError):
        parse("a = " + piece * 7_000)
    assert time.monotonic() - begun < 30


SIGNS = [*'{}[]()=,:#"\n\t -.+\\$%<>?!&|*/', '"x"', '"${"', "<<E\n", "E\n", "/*", "*/", "//"]
WORDS = ["a", "b.c", "1", "-1.5", "true", "null", "for", "in", "if", "é"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SIGNS + WORDS), max_size=40).map("".join))
def test_any_text_is_a_tree_or_an_error_with_a_line_of_the_file(text: str) -> None:
    line = 1
    try:
        tree = parse(text)
    except HclError as error:
        line = error.line
    else:
        assert isinstance(tree, Block)
    assert 1 <= line <= text.count("\n") + 1


def test_the_grammar_is_loaded_for_hcl_only() -> None:
    code = "import sys, moot.agent.config; sys.exit('lark' in sys.modules or 'hcl2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
