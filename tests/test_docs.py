"""The documentation as a test: what it names must exist. Nothing is run here; transcripts are not compared."""

import ast
import functools
import importlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement

from moot.agent import config
from moot.agent.cli import COMMANDS, cli
from moot.agent.cluster_places import AGENTS_MAX
from moot.agent.config_files import read_tree
from moot.agent.config_reference import reference
from moot.agent.go_flags import GoFlags
from moot.agent.key_table import BLOCKS, KEYS
from moot.agent.schema import flatten
from moot.agent.serf import line
from moot.gossip.sim import scenario_file
from moot.http.api import build_api
from moot.http.backend import Identity
from moot.http.counters import HttpCounters
from moot.http.nomad import LEADER_WAIT
from moot.http.routes import Route
from moot.http.server import Limits
from tests.api.reference import PART
from tests.api.scripted import ScriptedBackend

ROOT = Path(__file__).parents[1]
CLI, HTTP, CONFIGURATION = (ROOT / "docs" / name for name in ("cli.md", "http-api.md", "configuration.md"))
LAB = ROOT / "docs" / "lab.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [path for folder in ("agent", "gossip", "http") for path in (ROOT / folder).rglob("*.py")]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"\]\(([^)\s]+)\)")
INVOKED = re.compile(r"(?<![\w./-])(?<!# )moot ([^|;&>)#`\"…]+)")
PATH = re.compile(r"/(?:v1|ui)/[\w/-]*(?:\.json)?")
FILE = re.compile(r"(?<![\w./-])(?:agent|gossip|http|bench|tests|docs|src)/[\w./*-]+")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCED.sub("", text)


def spans(text: str) -> list[str]:
    """Inline code of a page."""
    return [found[2].strip() for found in SPAN.finditer(prose(text))]


def snippets(text: str) -> list[str]:
    """All code of a page: lines of fenced blocks, and inline code."""
    return [line for block in FENCED.finditer(text) for line in block[2].splitlines()] + spans(text)


def blocks(*languages: str) -> Iterator[tuple[Path, str, str]]:
    """Fenced blocks in one of the languages: page, language, content."""
    for page in PAGES:
        yield from (
            (page, found[1], found[2]) for found in FENCED.finditer(page.read_text()) if found[1] in languages
        )


def expanded(text: str) -> list[str]:
    """`a.{b,c}` as `a.b` and `a.c`."""
    found = re.fullmatch(r"(.*)\{([^}]*)\}(.*)", text)
    return [found[1] + each.strip() + found[3] for each in found[2].split(",")] if found else [text]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as its readers' tools make them."""
    titles = re.findall(r"^#+ (.*)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# the command line


@dataclass
class Invocation:
    """`moot` with words after it: what they name, the flags that it has, and the rest."""

    name: str
    flags: set[str]
    rest: list[str]


def invocations(snippet: str) -> Iterator[Invocation]:
    """Every `moot …` of a snippet. Raises AssertionError for a command that does not exist."""
    context = click.Context(cli)
    for found in INVOKED.finditer(snippet):
        words = found[1].replace("[", "").replace("]", "").split()
        if not words or words[0].isupper():  # a placeholder, such as COMMAND
            continue
        command: click.Command = cli
        name = "moot"
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            word = words.pop(0)
            inner = command.get_command(context, word)
            assert inner is not None, f"`{name} {word}` does not exist, in: {snippet}"
            command, name = inner, f"{name} {word}"
        if name == "moot serf" and words and words[0].islower() and not words[0].startswith("-"):
            word = words.pop(0)
            known = {f"-{flag}" for flag in line.find(word).flags()}
            yield Invocation(f"{name} {word}", known | {f"-{flag}" for flag in known}, words)
        else:
            yield Invocation(name, flags(command), words)


def flags(command: click.Command) -> set[str]:
    """The flags that a command's help shows."""
    shown = {"-h", "--help"}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            shown |= {*parameter.opts, *parameter.secondary_opts}
    if isinstance(command, GoFlags):
        shown |= {name.removeprefix("-") for name in shown if name.startswith("--")}
    return shown


def all_commands(group: click.Group, path: str = "moot") -> Iterator[tuple[str, click.Command]]:
    """A group's commands, and those of the groups in it, by what is typed to call them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{path} {name}")


@every_page
def test_every_command_and_flag_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    typed = [line for line in snippets(text) if line.startswith("$ ")]  # the rest of a transcript is output
    for snippet in [*typed, *spans(text)]:
        for invocation in invocations(snippet):
            named = {word.partition("=")[0] for word in invocation.rest if re.match("--?[a-z]", word)}
            assert named <= invocation.flags, f"{invocation.name}, in: {snippet}"


@every_page
def test_every_flag_that_stands_alone_is_one_of_some_command(page: Path) -> None:
    known = {"--version", *(name for _, command in all_commands(cli) for name in flags(command))}
    named = {span.split()[0].partition("=")[0] for span in spans(page.read_text()) if span.startswith("--")}
    assert named <= known


def test_every_command_and_every_flag_of_the_agent_is_described() -> None:
    text = CLI.read_text()
    assert [name for name in COMMANDS if f"moot {name}" not in text] == []
    agent = cli.get_command(click.Context(cli), "agent")
    assert agent is not None
    written = set(re.findall(r"--[a-z-]+", text))
    silent = {name for name in flags(agent) if not name.startswith("--no-") and name.startswith("--")} - written
    assert silent == {"--help"} - written


def test_what_takes_no_json_is_said() -> None:
    (sentence,) = re.findall(r"^- \*\*`--json`\*\*.*?(?=^- )", CLI.read_text(), re.MULTILINE | re.DOTALL)
    commands = {path: command for path, command in all_commands(cli) if not isinstance(command, click.Group)}
    without = {" ".join(path.split()[:2]) for path, command in commands.items() if "--json" not in flags(command)}
    assert without == set(re.findall(r"moot [a-z]+", sentence))


def test_the_reference_of_the_configuration_is_made_of_the_table_of_keys(request: pytest.FixtureRequest) -> None:
    front, heading, held = CONFIGURATION.read_text().rpartition("--rewrite` makes it anew -->\n\n")
    if request.config.getoption("--rewrite"):
        CONFIGURATION.write_text(front + heading + reference())
        return
    assert held == reference()


def test_every_sample_of_a_configuration_loads(tmp_path: Path) -> None:
    samples = list(blocks("hcl", "toml", "json"))
    assert samples
    for page, language, content in samples:
        if page == LAB:
            continue  # scenarios, see below
        file = tmp_path / f"{page.stem}.{language}"
        file.write_text(content)
        config.load([file])


def test_every_sample_of_a_scenario_loads() -> None:
    samples = [content for page, _, content in blocks("toml") if page == LAB]
    assert samples
    for content in samples:
        assert scenario_file.load(content).steps


def test_the_samples_say_the_same_in_all_languages(tmp_path: Path) -> None:
    layers = {}
    for page, language, content in blocks("hcl", "toml", "json"):
        if page == CONFIGURATION and language not in layers:
            file = tmp_path / f"same.{language}"
            file.write_text(content)
            layers[language] = flatten(str(file), read_tree(file)).layer
    assert layers["hcl"] == layers["toml"] == layers["json"]


def test_the_largest_cluster_is_as_large_as_written() -> None:
    assert f"{AGENTS_MAX} at most" in CLI.read_text()


# files, links, Python


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page.read_text())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target


@every_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    for snippet in snippets(page.read_text()):
        for named in FILE.findall(snippet) if "://" not in snippet else ():
            assert list(ROOT.glob(named.rstrip("/."))), named


@every_page
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for snippet in snippets(page.read_text()) for target in re.findall(r"^make ([a-z]+)", snippet)}
    assert named <= targets


@every_page
def test_every_dotted_name_is_a_key_or_can_be_imported(page: Path) -> None:
    for span in spans(page.read_text()):
        for name in expanded(span) if re.fullmatch(r"moot\.[\w.{}, ]+", span) else ():
            if name not in KEYS and name not in BLOCKS:
                find(name)


def test_what_the_programs_import_is_there() -> None:
    programs = list(blocks("python"))
    assert programs
    for _, _, content in programs:
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    find(f"{node.module}.{alias.name}")


def find(name: str) -> object:
    """What a dotted name stands for: a module, or something in one. Raises ImportError, AttributeError."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[count:], module)
    raise ImportError(name)


def test_every_library_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"].get("optional-dependencies", {}).values()
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], *itertools.chain(*extras)]
    rows = re.findall(r"^\| [^|]+ \| ([\w, -]+) \| \S", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    written = {name.strip().lower() for row in rows for name in row.split(",")}
    assert {Requirement(each).name for each in declared} - written == set()


# HTTP


def routes() -> dict[str, Route]:
    """The router's table by path."""
    identity = Identity(
        node_name="a", gossip_name="a.global", region="global", datacenter="dc1", pool="nomad", is_server=True
    )
    return build_api(ScriptedBackend(identity), counters=HttpCounters())._exact


def served_and_not() -> tuple[str, str]:
    """docs/http-api.md without the list of what is not served, and that list."""
    text = HTTP.read_text()
    begin, end = text.index("## Not served"), text.index("# Reference")
    return text[:begin] + text[end:], text[begin:end]


@every_page
def test_every_http_path_that_is_named_is_served(page: Path) -> None:
    known = routes()
    text = served_and_not()[0] if page == HTTP else page.read_text()
    for path in PATH.findall(text):
        in_front = path.endswith("/") and any(each.startswith(path) for each in known)
        described = any(doc.path == path for route in known.values() for doc in route.docs)
        assert path in known or in_front or described, path


def test_what_is_listed_as_not_served_is_not() -> None:
    named = PATH.findall(served_and_not()[1])
    assert named
    assert [path for path in named if path in routes()] == []


def test_the_error_texts_are_those_in_the_code() -> None:
    sources = "".join(path.read_text() for path in CODE)
    rows = re.findall(r"^\| [45]\d\d \| (.*?) \| ", PART.sub("", HTTP.read_text()), re.MULTILINE)
    assert rows
    assert [text for row in rows for _, text in SPAN.findall(row) if text not in sources] == []


def test_the_limits_are_those_in_the_code() -> None:
    limits, text = Limits(), HTTP.read_text()
    for words in (
        f"| {limits.connections_max}, and {limits.connections_per_client_max} from one IP |",
        f"| queries and followers of the log at a time | {limits.streams_max} |",
        f"| headers of a request | {limits.header_bytes_max // 1024} KiB (",
        f"| body of a request | {limits.body_bytes_max // 1024 // 1024} MiB |",
        f"| first byte to end of headers | {limits.header_timeout:g} s |",
        f"| body | {limits.body_timeout:g} s |",
        f"| waiting for the next request | {limits.idle_timeout:g} s |",
        f"| a client that does not read its answer | {limits.write_timeout:g} s |",
        f"| requests in work when the agent stops | {limits.stop_timeout:g} s (",
        f"after {LEADER_WAIT:g} s",
    ):
        assert words in text
