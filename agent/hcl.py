"""HCL, as the configuration files of Nomad's agents are written, as a tree of plain values with line numbers.

Nomad's agents read HCL 1 and `python-hcl2` reads HCL 2. A file of plain values, which is all that a configuration
has, means the same in both but for a few things: in HCL 1 keys of blocks may stand in quotes or hold dots, commas
may stand between them, and `${` has no meaning in a text. So texts, comments and such keys are taken out first
(`hcl_scanner`): a mask of the same length stands for each, and the parser gets what is left, the structure.
The grammar takes a while to load, so it is loaded with the first file.
"""

from typing import TYPE_CHECKING, Final

from moot.agent.hcl_scanner import DEPTH_MAX as DEPTH_MAX
from moot.agent.hcl_scanner import HclError as HclError
from moot.agent.hcl_scanner import Masked, scan

if TYPE_CHECKING:
    from lark import Token, Tree

    Node = Tree[Token]

LABELS_MAX: Final = 4
"""Names of a block after its kind, such as the one in `plugin "docker" {`."""


class Block(dict[str, object]):
    """Keys and values of a block, with the line of each key. Inner blocks are lists: they may be there repeatedly."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


def put(tree: dict[str, object], key: str, value: object) -> None:
    """Add a key and its value. One that is there again is one more block. Raises ValueError if it is none."""
    held = tree.get(key)
    if key not in tree:
        tree[key] = value
        return
    both = [each if isinstance(each, list) else [each] for each in (held, value)]
    if not all(each and isinstance(each[0], dict) for each in both):
        raise ValueError(f"the key {key} is there twice in one block")
    both[0].extend(both[1])
    tree[key] = both[0]


def parse(text: str) -> Block:
    """A file's tree. Raises HclError."""
    masked = scan(text)
    from hcl2 import parses_to_tree
    from lark.exceptions import UnexpectedInput, UnexpectedToken

    try:
        tree = parses_to_tree(masked.text)
    except UnexpectedInput as error:
        at = error.pos_in_stream or 0
        if isinstance(error, UnexpectedToken) and error.token.type == "$END":
            at = len(text)
        raise HclError(f"{masked.shown(at)} is not expected here", masked.line(at)) from None
    return _Reader(masked).body(_inner(tree)[0])


def _inner(node: "Node") -> "list[Node]":
    """The nodes in a node, without its tokens and line ends."""
    return [child for child in node.children if not isinstance(child, str) and child.data != "new_line_or_comment"]


def _place(node: "Node") -> int:
    """Where a node begins in the text."""
    return int(node.meta.start_pos)


class _Reader:
    """Makes values of the parser's tree."""

    def __init__(self, masked: Masked) -> None:
        self._masked = masked

    def body(self, node: "Node") -> Block:
        """The content of a block, or of the file."""
        block = Block()
        for item in _inner(node):
            name, *rest = _inner(item)
            if item.data == "attribute":
                self._put(block, name, self.value(rest[0]))
                continue
            *labels, body = rest
            if len(labels) > LABELS_MAX:
                raise HclError(f"a block has at most {LABELS_MAX} names", self._masked.line(_place(name)))
            value = self.body(body)
            for label in reversed(labels):
                outer = Block()
                self._put(outer, label, [value])
                value = outer
            self._put(block, name, [value])
        return block

    def _put(self, block: Block, name: "Node", value: object) -> None:
        """A key that is there again is one more block, unless it has a plain value."""
        key = self._name(name)
        line = self._masked.line(_place(name))
        try:
            put(block, key, value)
        except ValueError as error:
            raise HclError(str(error), line) from None
        block.lines.setdefault(key, line)

    def _name(self, node: "Node") -> str:
        return self._masked.texts.get(_place(node), str(node.children[0]))

    def value(self, node: "Node") -> object:
        """A text, number, true, false, list or block. Raises HclError for what has to be computed."""
        kind, inner = str(node.data), _inner(node)
        match kind:
            case "expr_term" if len(node.children) == 1:
                return self.value(inner[0])
            case "string":
                return self._masked.texts[_place(node)]
            case "int_lit" | "float_lit":
                return self._number(node, kind)
            case "literal_value":
                return {"true": True, "false": False}.get(str(node.children[0]))
            case "tuple":
                return [self.value(child) for child in inner]
            case "object":
                return self._object(inner)
            case "unary_op" if str(node.children[0]) == "-":
                number = self.value(inner[0])
                if isinstance(number, int | float) and not isinstance(number, bool):
                    return -number
            case "identifier":
                at = _place(node)
                raise HclError(f"{self._masked.shown(at)} is no value; texts stand in quotes", self._masked.line(at))
        at = _place(node)
        raise HclError("only plain values can be read here, nothing that is to be computed", self._masked.line(at))

    def _number(self, node: "Node", kind: str) -> int | float:
        text = str(node.children[0])
        try:
            return int(text) if kind == "int_lit" else float(text)
        except ValueError:
            raise HclError("this number is too long", self._masked.line(_place(node))) from None

    def _object(self, elements: "list[Node]") -> Block:
        block = Block()
        for element in elements:
            key, value = _inner(element)
            name = key
            while name.data in ("object_elem_key", "expr_term") and len(_inner(name)) == 1:
                name = _inner(name)[0]
            if name.data not in ("identifier", "keyword", "string", "literal_value"):
                line = self._masked.line(_place(key))
                raise HclError("a key is a word, or a text in quotes", line)
            self._put(block, name, self.value(value))
        return block
