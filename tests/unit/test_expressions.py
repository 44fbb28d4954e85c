"""Regular expressions: RE2's meaning, as Go has it, at a bounded price."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip import expressions
from moot.gossip.expressions import LENGTH_MAX, ExpressionError
from tests.support.launching import SERF_RPC_PORT
from tests.support.processes import lab

TEXTS = ("hello", "", "\udcff", "h\udce2\udc82", "two\nlines", "ελληνικά", "a\0b", "-a_", "C", "\ufffd")
"""Values of a tag: plain, empty, broken UTF-8, cut UTF-8, a newline, Greek, a NUL."""

EXPRESSIONS = r"""
hello|.*l.*|(?i)HELLO|(?s).*|.*|(?m)two$.*|(?s)(?m)^two$.*|hello\z|hello\Z|\Ahello|\pLello|\p{L}+|\PN+|\pX|\p{Greek}*
\p{^Greek}*|\p{greek}*|\p{Any}*|\C|\C*|[\C]|\Q\C\E|\\C|\Q.*\E|(?P<n>h).*|(?P<n>a)(?P<n>b)|(?x)h|(?)hello|(?i-)hello
x{1000}|x{1001}|(x{100}){11}|x{2,1}|x**|x??|x{2}{3}|x{,2}|^*hello|*|(*)|(a|a)|[|[]|[]a]|[^]a]*|[z-a]|[a-\d]|[a-b-c]*
[[:word:]]+|[[:foo:]]|\1|(h)\1|\012|\0|\x68ello|\x{68}ello|\x{110000}|\xzz|\_|\-|\h|\cA|\k<n>|\K|\R|\X|\u0041|\<
(?=h)|(?!h)|(?<=h)|(?>h)|(?#c)h|(?P=n)|(?P<>h)|(?U)h.*?|(?ims-U:hello)|\a|\bhello\b|[\b]|[\w-]+|[^\pL]*|(?i)\x{212a}
(?:|(?|(?P|(?P<|x{0}hello|(|\|hello\
""".replace("\n", "|").strip("|")


def each_expression() -> list[str]:
    """The expressions above, one by one. They are divided by bars, those with a bar of their own are given here."""
    own = [
        "a|b|hello",
        "|*",
        "(|a)*hello",
        "(^|h)*.*",
        "\\",
        "",
        "\udcff",
        "[\udcff]",
        "h\0",
        "\\\0",
        "\\\n",
        "é|λ",
        ".",
    ]
    return [*EXPRESSIONS.split("|"), *own]


def found(expression: str, text: str) -> bool | None:
    """Whether it is found, None when the expression is refused."""
    try:
        return expressions.compile(expression).search(text)
    except ExpressionError:
        return None


def test_it_is_searched_and_not_anchored() -> None:
    assert expressions.compile("eb").search("web1")
    assert not expressions.compile("^eb").search("web1")


def test_the_end_is_the_very_end_and_no_newline_before_it() -> None:
    assert not expressions.compile("web$").search("web\n")


@pytest.mark.parametrize("bad", ["(", "a**", r"(a)\1", "(?=a)", r"\Z", r"\C", r"a\\\C", "\udcff", "[z-a]"])
def test_what_go_refuses_is_refused(bad: str) -> None:
    with pytest.raises(ExpressionError):
        expressions.compile(bad)


@pytest.mark.parametrize("good", [r"\\C", r"\Q\C\E", r"\Q\C", r"\QC\E\x43", "[C]"])
def test_only_the_escape_of_a_single_byte_is_taken_for_one(good: str) -> None:
    expressions.compile(good)


def test_a_refused_expression_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(ExpressionError, match="missing"):
            expressions.compile("again(")


@pytest.mark.parametrize("text", ["\udcff", "\udce2\udc82", "\udced\udca0\udc80"])
def test_each_byte_that_is_no_utf8_counts_as_one_character(text: str) -> None:
    assert expressions.compile(f"^.{{{len(text)}}}$").search(text)
    assert expressions.compile("^\ufffd+$").search(text)


def test_a_text_that_no_wire_can_carry_is_refused_as_an_expression_and_can_be_searched() -> None:
    with pytest.raises(ExpressionError):
        expressions.compile("\ud800")
    assert expressions.compile("^.$").search("\ud800")


def test_a_long_expression_is_refused() -> None:
    expressions.compile("x" * LENGTH_MAX)
    with pytest.raises(ExpressionError, match="longer than 4096 bytes"):
        expressions.compile("é" * (LENGTH_MAX // 2 + 1))


@pytest.mark.parametrize(
    "hostile",
    [
        "(x+x+)+y",
        "(x*)*" * 190 + "y",
        "((x*)*){900}" * 8 + "y",
        "x{0,1000}" * 100 + "y",
        "(((x?){100}){10})" * 50 + "y",
        r"\pL" * 320,
        "(?i)[" + r"\pL\PL" * 160 + "]y",
        "(" * 500 + ")" * 500,
    ],
    ids=lambda text: text[:14],
)
def test_what_fits_into_a_query_costs_little_time_or_is_refused(hostile: str) -> None:
    before = time.process_time()
    found(hostile, "x" * 512)
    assert time.process_time() - before < 1.0  # about 0.04 s; a backtracking engine takes years


def test_a_refusal_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    for hostile in ("((", r"\pL{100}", "x{0,1000}" * 100):
        assert found(hostile, "x") is None
    assert capfd.readouterr() == ("", "")


@given(st.text(max_size=30), st.binary(max_size=30))
def test_any_expression_is_compiled_or_refused_and_any_text_can_be_searched(expression: str, text: bytes) -> None:
    assert found(expression, text.decode("utf-8", "surrogateescape")) in (True, False, None)


@contextmanager
def real_agent(binary: str) -> Iterator[str]:
    """A real serf agent, whose Go judges; its address."""
    with tempfile.TemporaryDirectory() as folder, lab(binary) as running:
        yield running.serf("judge", f"-snapshot={Path(folder) / 'snapshot'}").host


class Judge:
    """Asks an agent whether a tag matches, over one connection as long as it does not refuse."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._link: socket.socket | None = None

    def _ask(self, command: str, body: dict[str, Any], parts: int) -> list[Any]:
        """Raises ConnectionError when the agent hangs up, as it does for a bad expression."""
        if self._link is None:
            self._link = socket.create_connection((self._host, SERF_RPC_PORT), timeout=30)
            self._ask("handshake", {"Version": 1}, 1)
        pack = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape").pack
        self._link.sendall(pack({"Command": command, "Seq": 1}) + pack(body))
        unpacker, answer = msgpack.Unpacker(raw=True), list[Any]()
        while len(answer) < parts:
            data = self._link.recv(65536)
            if not data:
                self.close()
                raise ConnectionError
            unpacker.feed(data)
            answer += unpacker
        assert answer[0][b"Error"] == b""
        return answer

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def set_tag(self, value: str) -> None:
        self._ask("tags", {"Tags": {"v": value}, "DeleteTags": []}, 1)

    def found(self, expression: str) -> bool | None:
        """None when the agent refuses; it searches `^expression$`."""
        try:
            answer = self._ask("members-filtered", {"Tags": {"v": expression}, "Status": "", "Name": ""}, 2)
        except ConnectionError:
            return None
        return bool(answer[1][b"Members"])


@pytest.mark.live
@pytest.mark.peer
def test_a_real_agent_finds_and_refuses_the_same(serf_binary: str) -> None:
    with real_agent(serf_binary) as host:
        judge = Judge(host)
        different = []
        for text in TEXTS:
            judge.set_tag(text)
            for expression in each_expression():
                theirs, ours = judge.found(expression), found(f"^{expression}$", text)
                if theirs != ours:
                    different.append((expression, text, theirs, ours))
        judge.close()
    assert different == []
