"""Serf's configuration files and flags as settings."""

import json
import socket
from pathlib import Path

import pytest

from moot.agent.serf import config, flags
from moot.agent.serf.config import FLAGS, SerfAgentSettings
from moot.agent.serf.files import KEYS, MDNS_KEYS, config_files, read_file
from moot.agent.serf.interfaces import addresses_of
from moot.gossip.errors import ConfigError

KEY = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="


def load(*words: str) -> SerfAgentSettings:
    return config.load(flags.parse(FLAGS, words))


def file(folder: Path, name: str = "config.json", /, **keys: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(keys))
    return path


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*words)
    return str(caught.value)


# ---- files


def test_a_file_may_say_everything(tmp_path: Path) -> None:
    kinds: dict[str, object] = {
        **dict.fromkeys(KEYS, "5s"),
        **{key: ["x"] for key in ("start_join", "retry_join", "event_handlers")},
        **dict.fromkeys(("protocol", "retry_max_attempts", "query_size_limit"), 4),
        **dict.fromkeys(("query_response_size_limit", "user_event_size_limit"), 4),
        "tags": {"a": "b"},
        "mdns": {"interface": "lo", "disable_ipv4": False, "disable_ipv6": True},
    }
    switches = [
        key for key in KEYS if key.split("_")[0] in ("disable", "enable", "leave", "skip", "replay", "rejoin")
    ]
    path = file(tmp_path, **{**kinds, **dict.fromkeys(switches, True)})
    layer = read_file(path)
    assert layer.keys() == KEYS.keys()
    assert layer["retry_interval"] == 5_000_000_000
    assert layer["start_join"] == ("x",)
    assert layer["leave_on_terminate"] is True


@pytest.mark.parametrize("text", ["null", "{}", " {} {}", '{"node_name": null}', "{} trailing"])
def test_an_empty_object_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    assert not any(read_file(path).values())


@pytest.mark.parametrize("text", ["", "{", "{bad", "[1", "nul", '{"protocol": NaN}', "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"^Error decoding '{path}': "):
        read_file(path)


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(b'{"node_name": "a\xff"}')
    assert read_file(path) == {"node_name": "a\ufffd"}


def test_keys_may_be_written_in_any_case_and_numbers_with_a_fraction(tmp_path: Path) -> None:
    assert read_file(file(tmp_path, Node_NAME="x", PROTOCOL=4.9)) == {"node_name": "x", "protocol": 4}


def test_everything_wrong_in_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = file(tmp_path, bogus=1, tags={"a": 1}, retry_join="x")
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert str(caught.value) == (
        f"Error decoding '{path}': 3 error(s) decoding:\n\n"
        "* '' has invalid keys: bogus\n"
        "* 'retry_join': source data must be an array or slice, got string\n"
        "* 'tags[a]' expected type 'string', got unconvertible type 'float64', value: '1'"
    )


def test_the_inner_object_is_checked_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mdns' has invalid keys: bogus"):
        read_file(file(tmp_path, mdns={"bogus": 1}))
    with pytest.raises(ConfigError, match="'mdns' expected a map, got 'slice'"):
        read_file(file(tmp_path, mdns=[]))


def test_a_directory_stands_for_its_json_files_by_name(tmp_path: Path) -> None:
    b, a = file(tmp_path, "b.json"), file(tmp_path, "a.json")
    (tmp_path / "c.txt").write_text("junk")
    (tmp_path / "d.json").mkdir()
    assert config_files(tmp_path) == [a, b]
    assert config_files(b) == [b]
    with pytest.raises(ConfigError, match=r"^Error reading '/nowhere': open /nowhere: no such file or directory$"):
        config_files(Path("/nowhere"))


def test_the_file_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "serf.md"
    _, _, rest = page.read_text().partition("<<'END'\n")
    path = tmp_path / "db.json"
    path.write_text(rest.partition("\nEND\n")[0])
    settings = load(f"-config-file={path}")
    assert (settings.node_name, settings.start_join) == ("db", ("127.61.0.1",))
    assert len(settings.handlers) == 2


def test_every_key_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "serf.md").read_text()
    keys = {*KEYS.keys() - {"mdns"}, *(f"mdns.{key}" for key in MDNS_KEYS)}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


# ---- settings


def test_without_a_word_it_is_serfs_default() -> None:
    settings = load()
    assert settings.node_name == socket.gethostname()
    assert (str(settings.bind), settings.rpc_addr) == ("0.0.0.0:7946", "127.0.0.1:7373")
    assert (settings.profile, settings.protocol, settings.log_level) == ("lan", 5, "INFO")
    assert (settings.retry_interval, settings.retry_max) == (30.0, 0)
    assert settings.notices == ()
    node = settings.node_settings()
    assert node.versions == bytes((1, 5, 2, 2, 5, 5))
    assert (node.serf.conflict, node.serf.coordinates, node.serf.broadcast_timeout) == ("vote", True, 5.0)
    assert not node.wire.compress


def test_flags_go_over_files_and_later_files_over_earlier_ones(tmp_path: Path) -> None:
    one = file(
        tmp_path,
        "1.json",
        node_name="one",
        log_level="debug",
        tags={"a": "1", "b": "1"},
        start_join=["x"],
        protocol=4,
    )
    two = file(tmp_path, "2.json", node_name="two", tags={"b": "2"}, start_join=["y"], protocol=0, log_level="")
    settings = load(f"-config-file={one}", "-config-dir", str(two), "-tag=a=3", "-join=z", "-node=", "-protocol=-1")
    assert (settings.node_name, settings.log_level, settings.protocol) == ("two", "DEBUG", 4)
    assert settings.tags == {"a": "3", "b": "2"}
    assert settings.start_join == ("x", "y", "z")


def test_files_count_in_the_order_they_are_named_by_either_flag(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file(folder, "a.json", node_name="folder")
    path = file(tmp_path, node_name="file")
    assert load(f"-config-dir={folder}", f"-config-file={path}").node_name == "file"
    assert load(f"-config-file={path}", f"-config-dir={folder}").node_name == "folder"


def test_switches_only_ever_turn_on(tmp_path: Path) -> None:
    on = file(tmp_path, "on.json", leave_on_terminate=True, replay_on_join=True)
    off = file(tmp_path, "off.json", leave_on_terminate=False)
    settings = load(f"-config-file={on}", f"-config-file={off}", "-replay=false")
    assert settings.leave_on_terminate
    assert settings.replay


def test_the_old_role_is_a_tag_and_wins_and_is_told(tmp_path: Path) -> None:
    settings = load("-role=x", "-tag", "role=z")
    assert settings.tags == {"role": "x"}
    assert settings.notices == ("Deprecation warning: 'Role' has been replaced with 'Tags'",)


@pytest.mark.parametrize(
    ("word", "bind"),
    [
        ("127.0.0.9", "127.0.0.9:7946"),
        ("127.0.0.9:80", "127.0.0.9:80"),
        ("127.0.0.9:http", "127.0.0.9:80"),
        ("[::1]", "[::1]:7946"),
        ("[::1]:1", "[::1]:1"),
        ("localhost", "127.0.0.1:7946"),
        (":1", "0.0.0.0:1"),
    ],
)
def test_an_address_may_lack_its_port(word: str, bind: str) -> None:
    assert str(load(f"-bind={word}").bind) == bind
    assert str(load(f"-advertise={word}").advertise) == bind


def test_an_interface_gives_the_address_or_must_have_it() -> None:
    settings = load("-iface=lo", "-bind=:7000")
    assert str(settings.bind) == "127.0.0.1:7000"
    assert settings.notices == ("Using interface 'lo' address '127.0.0.1'",)
    assert settings.mdns_interface == "lo"
    assert str(load("-iface=lo", "-bind=[::1]").bind) == "[::1]:7946"
    assert refused("-iface=lo", "-bind=127.0.0.2") == "Interface 'lo' has no '127.0.0.2' address"
    assert refused("-iface=bogus") == "Invalid network interface: route ip+net: no such network interface"


def test_the_kernel_tells_all_addresses_of_an_interface() -> None:
    assert "127.0.0.1" in map(str, addresses_of("lo"))
    with pytest.raises(OSError, match="no interface"):
        addresses_of("bogus")


def test_durations_sizes_and_switches_reach_the_engine(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        reconnect_interval="1m",
        reconnect_timeout="2h",
        tombstone_timeout="3h",
        broadcast_timeout="4s",
        query_response_size_limit=1,
        query_size_limit=2,
        user_event_size_limit=3,
        disable_coordinates=True,
        disable_name_resolution=True,
        enable_compression=True,
    )
    node = load(f"-config-file={path}", "-broadcast-timeout=7s", "-protocol=4", "-profile=wan").node_settings()
    assert (node.serf.reconnect_interval, node.serf.reconnect_timeout) == (60.0, 7200.0)
    assert (node.serf.tombstone_timeout, node.serf.broadcast_timeout) == (10800.0, 7.0)
    assert (node.serf.query_response_size_max, node.serf.query_size_max, node.serf.user_event_size_max) == (1, 2, 3)
    assert (node.serf.coordinates, node.serf.conflict) == (False, "warn")
    assert node.wire.compress
    assert node.versions[5] == 4
    assert node.swim.probe_interval == 5.0
    assert not load(f"-config-file={path}", "-disable-compression").compress


def test_warnings_come_in_serfs_order() -> None:
    assert load("-rejoin", "-retry-interval=1ms").notices == (
        "Warning: 'RetryInterval' is too low. Setting to 1s",
        "Warning: 'RejoinAfterLeave' enabled without snapshot file",
    )
    assert load("-retry-interval=1ms").retry_interval == 1.0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-retry-interval=x"], 'Error: time: invalid duration "x"'),
        (["-broadcast-timeout=5"], 'Error: time: missing unit in duration "5"'),
        (["-tag=x"], "Error: Invalid tag: 'x'"),
        (["-bind=::1"], "Invalid bind address: address ::1: too many colons in address"),
        (["-bind=127.0.0.1:99999"], "Invalid bind address: address 99999: invalid port"),
        (["-advertise=127.0.0.1:x"], "Invalid advertise address: address tcp/x: unknown port"),
        (["-encrypt=abc"], "Invalid encryption key: illegal base64 data at input byte 0"),
        (["-log-level=loud"], "Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"),
        (["-profile=moon"], "Unknown profile: moon"),
    ],
)
def test_wrong_values_are_refused_in_serfs_words(words: list[str], text: str) -> None:
    assert refused(*words) == text


def test_an_event_handler_for_no_known_event_is_refused() -> None:
    assert refused("-event-handler=bogus:x=y").startswith("Invalid event script: Event 'bogus:x' invoking 'y' (")
    (handler,) = load("-event-handler=member-join,user:deploy=./run a=b").handlers
    assert handler.script == "./run a=b"


def test_a_key_does_not_show_in_the_settings() -> None:
    settings = load(f"-encrypt={KEY}", "-rpc-auth=sesame")
    assert len(settings.keys[0]) == 32
    assert str(settings.keys[0]) not in repr(settings)
    assert "sesame" not in repr(settings)
