"""Settings: defaults, files, flags, how they meet, and what is said about mistakes."""

import base64
import contextlib
import json
import math
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent import checks
from moot.agent.commands.agent import FLAGS
from moot.agent.config import Flag, FlagError, load
from moot.agent.config_files import FILE_MAX, config_files
from moot.agent.key_table import KEYS
from moot.agent.settings import Settings
from moot.gossip.config import LAN, LOCAL, WAN
from moot.gossip.errors import ConfigError

KEY = base64.b64encode(bytes(range(32))).decode()


def write(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def loaded(directory: Path, *files: object, dev: bool = False, **flags: object) -> Settings:
    """Settings from JSON files and from flags by key (`__` for a dot)."""
    paths = [write(directory / f"{number}.json", file) for number, file in enumerate(files)]
    given = [Flag(FLAGS[key.replace("__", ".")], key.replace("__", "."), value) for key, value in flags.items()]
    return load(paths, given, dev=dev)


def test_nothing_given_is_a_server_on_loopback_with_nomads_ports() -> None:
    settings = load([])
    assert settings.name == socket.gethostname()
    assert settings.name_given == ""
    assert settings.gossip_name == f"{socket.gethostname()}.global"
    assert (settings.region, settings.datacenter, settings.pool, settings.profile) == (
        "global",
        "dc1",
        "nomad",
        "wan",
    )
    assert {name: str(place) for name, place in settings.bind.items()} == {
        "http": "127.0.0.1:4646",
        "rpc": "127.0.0.1:4647",
        "serf": "127.0.0.1:4648",
    }
    assert settings.swim == WAN
    assert not settings.keys


def test_serf_pools_take_the_plain_name_and_the_lan_profile(tmp_path: Path) -> None:
    settings = loaded(tmp_path, moot__pool="serf", name="a")
    assert settings.gossip_name == "a"
    assert settings.swim == LAN


def test_dev_mode_lies_between_defaults_and_files(tmp_path: Path) -> None:
    assert load([], dev=True).log_level == "debug"
    assert load([], dev=True).bootstrap_expect == 1
    assert loaded(tmp_path, {"log_level": "WARN"}, dev=True).log_level == "warn"


def test_later_files_win_over_earlier_ones_and_flags_over_files(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        {"name": "first", "region": "eu", "ports": {"http": 1111}},
        {"name": "second", "ports": {"rpc": 2222}},
        region="us",
    )
    assert (settings.name, settings.region) == ("second", "us")
    assert (settings.bind["http"].port, settings.bind["rpc"].port, settings.bind["serf"].port) == (1111, 2222, 4648)


def test_lists_of_joins_add_up_and_maps_merge_by_key(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        {"server": {"retry_join": ["a"]}, "moot": {"tags": {"x": "1", "y": "1"}}},
        {"server": {"retry_join": ["b"]}, "moot": {"tags": {"y": "2"}}},
        server__retry_join=["c"],
    )
    assert settings.retry_join == ("a", "b", "c")
    assert settings.tags == {"x": "1", "y": "2"}


def test_among_files_what_is_empty_zero_or_false_does_not_unset_what_an_earlier_one_says(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        {
            "name": "kept",
            "ports": {"http": 80},
            "leave_on_interrupt": True,
            "server": {"server_join": {"retry_join": ["a"]}},
        },
        {
            "name": "",
            "ports": {"http": 0},
            "leave_on_interrupt": False,
            "server": {"server_join": {"retry_join": []}},
        },
    )
    assert settings.name == "kept"
    assert settings.bind["http"].port == 80
    assert settings.leave_on_interrupt
    assert settings.retry_join == ("a",)


def test_zero_and_false_count_over_what_is_built_in_and_from_flags(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"ports": {"http": 0}}).bind["http"].port == 0
    settings = loaded(
        tmp_path, {"ports": {"http": 80}, "leave_on_interrupt": True}, ports__http=0, leave_on_interrupt=False
    )
    assert settings.bind["http"].port == 0
    assert not settings.leave_on_interrupt


def test_toml_holds_the_same_keys_as_json(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.toml",
        f'name = "a"\nleave_on_terminate = true\n[server]\nencrypt = "{KEY}"\nretry_interval = "1m30s"\n'
        '[http_api_response_headers]\nX-One = "1"\n[moot]\nprofile = "local"\nlabel = "blue"\n',
    )
    settings = load([file])
    assert settings.name == "a"
    assert settings.leave_on_terminate
    assert settings.keys == (bytes(range(32)),)
    assert settings.retry_interval == 90
    assert settings.response_headers == {"X-One": "1"}
    assert settings.swim == LOCAL
    assert settings.label == "blue"
    assert settings.files == (file,)


def test_a_block_may_be_a_list_of_one_as_json_written_for_hcl_has_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"ports": [{"http": 99}]}).bind["http"].port == 99


def test_a_directory_counts_as_its_files_by_name_without_editor_litter(tmp_path: Path) -> None:
    for name in ("b.json", "a.toml", "c.json~", ".#d.json", "#e.json#", "notes.txt"):
        write(tmp_path / name, "")
    (tmp_path / "sub.json").mkdir()
    assert [file.name for file in config_files(tmp_path)] == ["a.toml", "b.json"]


def test_timing_keys_change_the_profile(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"moot": {"profile": "local", "timing": {"push_pull_interval": "5s"}}})
    assert settings.swim.push_pull_interval == 5.0
    assert settings.swim.probe_timeout == LOCAL.probe_timeout


def test_each_service_takes_its_own_address_or_the_common_one(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"bind_addr": "127.0.0.2", "addresses": {"http": "::1"}})
    assert str(settings.bind["http"]) == "[::1]:4646"
    assert str(settings.bind["serf"]) == "127.0.0.2:4648"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10.0.0.1", "10.0.0.1:4648"),
        ("10.0.0.1:99", "10.0.0.1:99"),
        ("::1", "[::1]:4648"),
        ("[::1]", "[::1]:4648"),
        ("[::1]:99", "[::1]:99"),
    ],
)
def test_an_advertised_address_may_leave_out_its_port(tmp_path: Path, text: str, told: str) -> None:
    assert str(loaded(tmp_path, advertise__serf=text).advertise["serf"]) == told


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"zork": 1}, "unknown key zork; known here: name, region"),
        ({"regoin": "x"}, "unknown key regoin; did you mean region?"),
        ({"server": {"retryjoin": []}}, "unknown key server.retryjoin; did you mean server.retry_join?"),
        ({"encrypt": "x"}, "unknown key encrypt; it belongs to a block: server.encrypt"),
        ({"moot": {"timing": {"x": "1s"}}}, "unknown key moot.timing.x; known here: probe_interval"),
        ({"ports": 1}, "ports: must be a block, such as ports with the key http in it"),
        ({"ports": {"http": 70000}}, "ports.http: must be a port from 0 to 65535"),
        ({"ports": {"http": True}}, "ports.http: must be a whole number"),
        ({"log_json": "yes"}, "log_json: must be true or false"),
        ({"name": 1}, "name: must be a text"),
        ({"server": {"retry_join": "a"}}, "server.retry_join: must be a list of texts"),
        ({"server": {"retry_interval": "5"}}, "server.retry_interval: '5' is no duration"),
        ({"moot": {"tags": {"a": 1}}}, "moot.tags: must be a block of names with text values"),
        ({"moot": {"pool": "x"}}, "moot.pool: must be one of nomad, serf"),
        ({"log_level": "zzz"}, "Invalid log level: ZZZ. Valid log levels are: TRACE, DEBUG, INFO, WARN, ERROR"),
        ([], "must hold one object"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_file_and_key(tmp_path: Path, tree: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, tree)
    assert str(caught.value).startswith(str(tmp_path / "0.json"))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"server__encrypt": "abc"}, "Invalid encryption key: it is not base64"),
        ({"server__encrypt": "YWJj"}, "Invalid encryption key: it has 3 bytes"),
        ({"data_dir": "foo"}, "data-dir must be given as an absolute path: got foo"),
        ({"bind_addr": "host"}, "--bind: must be an IP address"),
        ({"advertise__serf": "0.0.0.0"}, "cannot be 0.0.0.0"),
        ({"advertise__serf": "10.0.0.1:x"}, "'x' in '10.0.0.1:x' is no port"),
        ({"name": "a/b"}, "without a slash"),
        ({"name": "n" * 129}, "must not exceed 128 bytes"),
        ({"moot__label": "l" * 256}, "must not exceed 255 bytes"),
        ({"moot__profile": "x"}, "--profile: must be one of lan, wan, local"),
    ],
)
def test_a_mistake_in_a_flag_is_told_in_words(tmp_path: Path, flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, dev=False, **flags)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"[" * 100_000, "cannot be read as JSON: it is nested too deeply"),
        ("a.toml", b"a = " + b"[" * 100_000, "cannot be read as TOML: it is nested too deeply"),
        ("a.json", b'{"name": "\xff"}', "cannot be read as JSON: 'utf-8' codec"),
        ("a.toml", b'name = "\xff"', "cannot be read as TOML: 'utf-8' codec"),
        ("a.json", b'{"ports": {"http": ' + b"9" * 5000 + b"}}", "cannot be read as JSON"),
        ("a.json", b'{"name": "a", "region": "eu", "name": "b"}', "the key name is there twice in one block"),
        ("a.json", b" " * (FILE_MAX + 1), "a configuration file has at most"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load([tmp_path])
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)


def test_a_pipe_is_no_file_that_an_agent_could_read_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ConfigError, match="is no regular file"):
        load([tmp_path])


def test_a_link_that_leads_nowhere_is_an_error_and_not_silence(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "gone.json")
    with pytest.raises(ConfigError, match=r"a\.json: No such file or directory"):
        load([tmp_path])


@pytest.mark.parametrize("call", ["stat", "iterdir"])
def test_a_directory_that_may_not_be_read_is_named(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(ConfigError, match=f"{tmp_path}: permission denied"):
        load([tmp_path])


@pytest.mark.parametrize("path", ["n" * 300, "a\0b"])
def test_a_path_that_cannot_be_is_an_error_in_words(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="Error loading configuration from"):
        load([tmp_path / path])


@pytest.mark.parametrize(
    "tree",
    [
        *({name: "\ud800"} for name in ("name", "region", "datacenter", "data_dir", "bind_addr", "log_level")),
        {"advertise": {"http": "\ud800"}},
        {"server": {"encrypt": "\ud800"}},
        {"server": {"start_join": ["a", "\ud800"]}},
        {"server": {"retry_interval": "\ud800"}},
        {"http_api_response_headers": {"a": "\ud800"}},
        {"moot": {"label": "\ud800"}},
        {"moot": {"pool": "\ud800"}},
        {"moot": {"tags": {"a": "\ud800"}}},
        {"moot": {"tags": {"\ud800": "a"}}},
    ],
)
def test_a_lone_surrogate_is_refused_in_every_text(tmp_path: Path, tree: object) -> None:
    with pytest.raises(ConfigError, match="must be a text of whole characters") as caught:
        loaded(tmp_path, tree)
    assert str(caught.value).startswith(f"{tmp_path / '0.json'}: ")


def test_bytes_that_are_no_utf8_in_a_flag_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="--node: must be a text of whole characters"):
        loaded(tmp_path, name="\udcff")


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"server": {"retry_interval": "0s"}}, "server.retry_interval: must be at least 100ms, got 0s"),
        ({"server": {"retry_interval": "99ms"}}, "server.retry_interval: must be at least 100ms, got 99ms"),
        ({"moot": {"timing": {"gossip_interval": "1ns"}}}, "must be at least 10ms, or 0 for what the profile says"),
        ({"moot": {"timing": {"suspicion_mult": 1001}}}, "moot.timing.suspicion_mult: must not exceed 1000"),
        ({"moot": {"timing": {"retransmit_mult": 10**30}}}, "moot.timing.retransmit_mult: must not exceed"),
        ({"server": {"retry_max": 2**31}}, "server.retry_max: must not exceed"),
        ({"server": {"bootstrap_expect": 256}}, "server.bootstrap_expect: must not exceed 255"),
        ({"region": "r" * 129}, "region: must not exceed 128 bytes"),
        ({"datacenter": "a\nb"}, "datacenter: must be printable"),
        ({"data_dir": "/a\0b"}, "data_dir: must not hold a null byte"),
        ({"data_dir": "a"}, "data_dir: data-dir must be given as an absolute path: got a"),
        ({"bind_addr": "x"}, "bind_addr: must be an IP address"),
        ({"addresses": {"http": "x"}}, "addresses.http: must be an IP address"),
        ({"advertise": {"rpc": "::"}}, "advertise.rpc: is told to the other members, so it cannot be ::"),
        ({"advertise": {"rpc": ":1"}}, "advertise.rpc: is told to the other members, so it cannot be empty"),
        ({"advertise": {"rpc": "10.0.0.1:99999999999"}}, "is no port"),
        ({"server": {"encrypt": "YWJj"}}, "server.encrypt: Invalid encryption key"),
        ({"client": {"server_join": {"start_join": ["a"]}}}, "client.server_join.start_join: a client takes no"),
    ],
)
def test_what_would_harm_the_agent_is_refused_with_file_and_key(tmp_path: Path, tree: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, tree)
    assert not isinstance(caught.value, FlagError)
    assert str(caught.value).startswith(f"{tmp_path / '0.json'}: ")
    assert words in str(caught.value)


def test_the_pauses_of_local_clusters_are_long_enough(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"server": {"retry_interval": "200ms"}}).retry_interval == 0.2
    assert loaded(tmp_path, {"moot": {"timing": {"gossip_interval": "0s"}}}).swim == WAN


def test_a_tag_of_the_agents_own_is_refused_and_blamed_on_its_source(tmp_path: Path) -> None:
    tags = {"role": "db"}
    with pytest.raises(FlagError, match="the tag role is the agent's own in a nomad pool"):
        loaded(tmp_path, moot__tags=tags)
    with pytest.raises(ConfigError, match="the tag role is the agent's own in a nomad pool") as caught:
        loaded(tmp_path, {"moot": {"tags": tags}})
    assert not isinstance(caught.value, FlagError)
    assert loaded(tmp_path, moot__tags=tags, moot__pool="serf").tags == tags


def test_a_mistake_in_a_flag_is_another_error_than_one_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="--profile: must be one of lan, wan, local"):
        loaded(tmp_path, moot__profile="zz")


def test_the_key_is_not_in_the_text_of_the_settings(tmp_path: Path) -> None:
    settings = loaded(tmp_path, server__encrypt=KEY)
    assert settings.keys
    for told in (repr(settings), str(settings)):
        assert KEY not in told
        assert str(settings.keys[0]) not in told


def test_the_advice_about_open_pools_does_not_put_the_key_into_the_process_list(tmp_path: Path) -> None:
    advice = loaded(tmp_path, bind_addr="0.0.0.0").warnings()[0]
    assert "MOOT_ENCRYPT" in advice
    assert "server.encrypt" in advice
    assert "--encrypt" not in advice


def test_the_key_is_never_repeated_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, server__encrypt="c2VjcmV0")
    assert "c2VjcmV0" not in str(caught.value)


def test_no_role_at_all_is_refused_as_nomad_does(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Must specify either server, client or dev mode for the agent"):
        loaded(tmp_path, {"server": {"enabled": False}})


@pytest.mark.parametrize("header", [{"a b": "1"}, {"a": "x\ny"}, {"a": "é"}, {"Date": "x"}])
def test_a_header_that_would_break_an_answer_is_refused(tmp_path: Path, header: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="http_api_response_headers"):
        loaded(tmp_path, {"http_api_response_headers": header})


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        load([tmp_path / "none.json"])


def test_warnings_tell_loopback_pools_open_pools_and_open_http(tmp_path: Path) -> None:
    assert "only this machine" in " ".join(load([]).warnings())
    opened = loaded(tmp_path, bind_addr="0.0.0.0").warnings()
    assert "not encrypted" in opened[0]
    assert "no access control" in opened[1]
    assert loaded(tmp_path, bind_addr="0.0.0.0", server__encrypt=KEY, addresses__http="127.0.0.1").warnings() == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("0.5s", 0.5), ("2us", 2e-6)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert checks.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5x", "5s 3s", "-5s", "5s!"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        checks.parse_duration(text)


@pytest.mark.parametrize(
    "text", ["9" * 400 + "s", "2562048h", "1" + "0" * 60 + "ns", "9" * 400 + "." + "9" * 400 + "h"]
)
def test_a_duration_that_go_could_not_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is too long: a duration stays below 292 years") as caught:
        checks.parse_duration(text)
    assert len(str(caught.value)) < 200


def test_the_longest_duration_of_go_is_one() -> None:
    assert checks.parse_duration("2562047h47m16s") == 2562047 * 3600 + 47 * 60 + 16


def test_every_flag_stands_for_a_key_that_exists() -> None:
    assert FLAGS.keys() <= KEYS.keys()


def test_names_of_the_http_api_add_up_in_lower_case(tmp_path: Path) -> None:
    first = write(tmp_path / "1.json", json.dumps({"moot": {"http_hosts": ["Nomad.Example."]}}))
    second = write(tmp_path / "2.json", json.dumps({"moot": {"http_hosts": ["*.wide"]}}))
    assert load([first, second]).http_hosts == ("nomad.example", "*.wide")
    wrong = write(tmp_path / "3.json", json.dumps({"moot": {"http_hosts": ["a b"]}}))
    with pytest.raises(ConfigError, match=r"moot\.http_hosts: 'a b' is no host name"):
        load([wrong])


TEXTS = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["127.0.0.1", "[::1]:9", "::", "1s", "0s", "1e9h", "info", "nomad", "/a", KEY, "9" * 500 + "h"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), VALUES, max_size=4))
def test_whatever_a_file_holds_it_is_settings_or_a_configuration_error(values: dict[str, object]) -> None:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *blocks, leaf = path.split(".")
        inner = tree
        for block in blocks:
            inner = inner.setdefault(block, {})
        inner[leaf] = value
    with tempfile.TemporaryDirectory() as directory:
        file = write(Path(directory) / "a.json", json.dumps(tree))
        with contextlib.suppress(ConfigError):
            settings = load([file])
            assert settings.retry_interval >= 0.1
            assert math.isfinite(settings.retry_interval)
            settings.gossip_name.encode()
            assert settings.warnings() is not None
