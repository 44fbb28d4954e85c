"""What `hcl` takes out of a file before it is parsed: texts, comments and odd keys, each by a mask of equal length.

Places and lines are the same in the masked text. It also sees to it that the parser gets nothing that would hold it
up: what is nested too deeply, too long, or not closed is refused here.
"""

import bisect
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

DEPTH_MAX: Final = 32
"""Brackets within each other."""
PIECES_MAX: Final = 30_000
"""Keys, values, signs and lines of one file. The parser takes about a second for so many."""
_SHOWN_MAX: Final = 24

_PIECE = re.compile(
    r"""(?P<blank>[ \t\r\ufeff]+)
    |(?P<newline>\n)
    |(?P<text>")
    |<<(?P<trim>-?)(?P<mark>[A-Za-z_][\w.-]*)[ \t\r]*\n
    |(?P<comment>\#|//|/\*)
    |(?P<opening>[\[{(])|(?P<closing>[\]})])
    |(?P<comma>,)|(?P<equals>[=:])
    |(?P<word>[^\s"#/\[\]{}(),=:]+|.)""",
    re.VERBOSE,
)
_PART = re.compile(r"[\w-]+|.", re.DOTALL)
_TEXT_STOP = re.compile(r'["\\\n{}]')
_SETS_VALUE = re.compile(r"[ \t]*=(?!=)")
_ESCAPE = re.compile(r"\\(?:([0-7]{3})|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_PAIRS = {"}": "{", "]": "[", ")": "("}


class HclError(ValueError):
    """A file that is no HCL, or more than plain values; `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


class Masked:
    """A file with masks in it, and what stood there."""

    def __init__(self, original: str) -> None:
        self.original = original
        self.text = ""
        self.texts: dict[int, str] = {}
        """By place, what is masked: texts, heredocs and keys."""
        self._end = len(original.rstrip())
        self._starts = [0, *(found.end() for found in re.finditer("\n", original))]

    def line(self, at: int) -> int:
        """The line of a place, from 1."""
        return bisect.bisect_right(self._starts, min(at, self._end))

    def shown(self, at: int) -> str:
        """What stands at a place, for an error; a text could be a secret and is not repeated."""
        rest = self.original[at:].lstrip()[:_SHOWN_MAX].split()
        if not rest:
            return "the end of the file"
        return "a text in quotes" if rest[0].startswith('"') else repr(rest[0])


def scan(text: str) -> Masked:
    """Mask a file. Raises HclError."""
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._masked = Masked(text)
        self._text = text
        self._at = 0
        self._pieces = 0
        self._out: list[str] = []
        self._open: list[tuple[str, int]] = []
        """The brackets that are open, and where."""
        self._last = "newline"
        """The kind of the piece before, leaving out blanks and comments."""

    def run(self) -> Masked:
        take: Mapping[str, Callable[[re.Match[str]], None]] = {
            "text": self._take_text,
            "mark": self._take_heredoc,
            "comment": self._take_comment,
            "opening": self._take_opening,
            "closing": self._take_closing,
            "word": self._take_word,
        }
        while self._at < len(self._text):
            found = _PIECE.match(self._text, self._at)
            assert found is not None  # its last case takes any character
            assert found.lastgroup is not None
            self._count(found.lastgroup != "blank")
            take.get(found.lastgroup, self._take_plain)(found)
        if self._open:
            bracket, at = self._open[-1]
            self._fail(f"this {bracket!r} is not closed", at)
        self._masked.text = "".join(self._out)
        return self._masked

    def _count(self, pieces: int) -> None:
        self._pieces += pieces
        if self._pieces > PIECES_MAX:
            self._fail(f"a file has at most {PIECES_MAX} keys, values, signs and lines", self._at)

    def _fail(self, reason: str, at: int) -> NoReturn:
        raise HclError(reason, self._masked.line(at))

    def _put(self, masked: str, kind: str) -> None:
        self._out.append(masked)
        self._at += len(masked)
        self._last = kind

    def _in_block(self) -> bool:
        """Whether keys stand here, and not the values of a list."""
        return not self._open or self._open[-1][0] == "{"

    def _begins(self) -> bool:
        """Whether a key begins here."""
        return self._in_block() and self._last in ("newline", "opening", "closing", "comma")

    def _take_plain(self, found: re.Match[str]) -> None:
        piece, kind = found[0], str(found.lastgroup)
        if kind == "blank":
            self._put(" " * len(piece), self._last)
        elif kind == "newline" and self._last == "equals":
            self._put(" ", self._last)  # the value stands on the next line
        elif kind == "comma" and self._in_block():
            self._put(" ", kind)
        else:
            self._put(piece, kind)

    def _take_word(self, found: re.Match[str]) -> None:
        word = found[0]
        if self._begins() and "." in word:
            self._masked.texts[self._at] = word
            word = "k" * len(word)
        self._count(sum(1 for _ in _PART.finditer(word)) - 1)  # to the parser `a.b.c` is not one piece
        self._put(word, "word")

    def _take_opening(self, found: re.Match[str]) -> None:
        if len(self._open) >= DEPTH_MAX:
            self._fail("it is nested too deeply", self._at)
        self._open.append((found[0], self._at))
        self._put(found[0], "opening")

    def _take_closing(self, found: re.Match[str]) -> None:
        if not self._open or self._open[-1][0] != _PAIRS[found[0]]:
            self._fail(f"this {found[0]!r} closes nothing", self._at)
        self._open.pop()
        self._put(found[0], "closing")

    def _take_comment(self, found: re.Match[str]) -> None:
        if found[0] == "/*":
            end = self._text.find("*/", self._at + 2) + 2
            if end == 1:
                self._fail("this comment is not closed", self._at)
        else:
            end = self._text.find("\n", self._at)
            end = len(self._text) if end < 0 else end
        self._put(re.sub(r"[^\n]", " ", self._text[self._at : end]), self._last)

    def _take_heredoc(self, found: re.Match[str]) -> None:
        begin, mark = found.end(), re.escape(found["mark"])
        end = re.compile(rf"^[ \t]*{mark}[ \t\r]*$", re.MULTILINE).search(self._text, begin)
        if end is None:
            self._fail(f"there is no end {found['mark']} of the text that begins here", self._at)
        lines = self._text[begin : end.start()].replace("\r\n", "\n").splitlines(keepends=True)
        if found["trim"]:
            margin = min((len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()), default=0)
            lines = [line[margin:] if line.strip() else line.lstrip(" \t") for line in lines]
        self._mask(end.end(), "".join(lines))

    def _take_text(self, _found: re.Match[str]) -> None:
        end = self._text_end()
        content = self._text[self._at + 1 : end - 1]
        value = _ESCAPE.sub(self._unescaped, content) if "\\" in content else content
        if self._begins() or (self._in_block() and _SETS_VALUE.match(self._text, end)):
            self._masked.texts[self._at] = value
            self._put("k" * (end - self._at), "word")
        else:
            self._mask(end, value)

    def _mask(self, end: int, value: str) -> None:
        """A text up to `end`, as one of equal length that any parser understands."""
        self._masked.texts[self._at] = value
        self._put('"' + "x" * (end - self._at - 2) + '"', "word")

    def _text_end(self) -> int:
        """After the closing quote. What stands in `${ }` may hold quotes and lines."""
        at, depth = self._at + 1, 0
        while (found := _TEXT_STOP.search(self._text, at)) is not None:
            at = found.end()
            match found[0]:
                case "\\":
                    at += 1
                case "{":
                    depth += depth > 0 or self._text[at - 2] == "$"
                case "}":
                    depth -= depth > 0
                case '"' if not depth:
                    return at
                case "\n" if not depth:
                    break
        self._fail("this text is not closed in its line", self._at)

    def _unescaped(self, found: re.Match[str]) -> str:
        octal, *hexadecimal, simple = found.groups()
        if simple:
            if simple not in _SIMPLE:
                self._fail(f"\\{simple} means nothing in a text; a backslash is written \\\\", self._at)
            return _SIMPLE[simple]
        number = int(octal, 8) if octal else int(next(filter(None, hexadecimal)), 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            self._fail(f"{found[0]} is no character", self._at)
        return chr(number)
