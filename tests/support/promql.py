"""What a PromQL expression asks for: names of series, and labels of each. Enough for ours, not a whole parser."""

import re

_WORDS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "and", "or"})
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME = re.compile(r"(?<![\w$.])([a-zA-Z_:][\w:]*)(?!\s*\(|\w)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"\s*')


def series_in(expression: str) -> set[str]:
    """Names of all series that an expression reads."""
    bare = _GROUPING.sub(" ", _SELECTOR.sub(r" \1 ", expression))
    bare = re.sub(r'\[[^\]]*\]|"(?:[^"\\]|\\.)*"', " ", bare)
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def labels_in(expression: str) -> set[str]:
    """Names of all labels that an expression selects or groups by. Raises ValueError for a broken selector."""
    found = {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}
    for _, matchers in _SELECTOR.findall(expression):
        for matcher in filter(None, matchers.split(",")):
            match = _MATCHER.fullmatch(matcher)
            if match is None:
                raise ValueError(f"no matcher: {matcher}")
            found.add(match[1])
    return found - {""}
