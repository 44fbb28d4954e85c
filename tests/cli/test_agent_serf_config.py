"""Settings of what makes an agent a full Serf peer: what they default to, and what is said about mistakes."""

import base64
import json
from pathlib import Path

import pytest

from moot.agent.commands.agent import FLAGS
from moot.agent.config import Flag, FlagError, load
from moot.agent.identity import keyring_file, node_settings, overruled_key, reloaded_tags
from moot.agent.keys import key_id
from moot.agent.services import interface_host
from moot.agent.settings import HostPort, Settings
from moot.gossip.errors import ConfigError
from moot.gossip.net.keyring_file import save_keys
from moot.gossip.record import Address

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
KEY = base64.b64encode(OLD).decode()


def loaded(directory: Path, file: object = None, **flags: object) -> Settings:
    """Settings from a JSON file and from flags by key (`__` for a dot)."""
    path = directory / "agent.json"
    path.write_text(json.dumps(file or {}))
    given = [Flag(FLAGS[key.replace("__", ".")], key.replace("__", "."), value) for key, value in flags.items()]
    return load([path], given)


def test_nothing_of_it_is_on_unless_asked_for(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.ipc is None
    assert settings.snapshot is None
    assert keyring_file(settings) is None
    assert settings.handlers == ()
    assert settings.discover == ""
    assert (settings.replay, settings.rejoin_after_leave, settings.handler_timeout) == (False, False, 60)
    assert settings.swim.dead_node_reclaim_time == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.9", HostPort(host="127.0.0.9", port=7373)),
        ("127.0.0.9:1", HostPort(host="127.0.0.9", port=1)),
        ("127.0.0.9:0", HostPort(host="127.0.0.9", port=0)),
        ("localhost", HostPort(host="127.0.0.1", port=7373)),
        ("localhost:99", HostPort(host="127.0.0.1", port=99)),
        ("::1", HostPort(host="::1", port=7373)),
        ("[::1]:8", HostPort(host="::1", port=8)),
        ("0.0.0.0", HostPort(host="0.0.0.0", port=7373)),
    ],
)
def test_the_client_rpc_listens_where_it_is_told_on_serfs_port_unless_told(
    tmp_path: Path, given: str, expected: HostPort
) -> None:
    assert loaded(tmp_path, {"moot": {"ipc_addr": given}}).ipc == expected


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"ipc_addr": ":7373"}, "moot.ipc_addr: needs an IP before the port, such as 127.0.0.1:7373"),
        ({"ipc_addr": "localhosts"}, "moot.ipc_addr: must be an IP address"),
        ({"ipc_addr": "127.0.0.1:x"}, "moot.ipc_addr: 'x' in '127.0.0.1:x' is no port"),
        ({"ipc_auth": 7}, "moot.ipc_auth: must be a text"),
        ({"snapshot": "a\0b"}, "moot.snapshot: must not hold a null byte"),
        ({"keyring_file": "\ud800"}, "moot.keyring_file: must be a text of whole characters"),
        ({"event_handlers": "x"}, "moot.event_handlers: must be a list of texts"),
        ({"event_handlers": ["member-joined=x"]}, "'member-joined' is no event filter; write *=member-joined=x"),
        ({"event_handlers": ["member-join="]}, "moot.event_handlers: event handler 'member-join=' names no script"),
        ({"handler_timeout": "soon"}, "moot.handler_timeout: 'soon' is no duration"),
        ({"discover": "a.b"}, "moot.discover: discovery name 'a.b': needs 1 to 57 of the characters"),
        ({"conflict": "fight"}, "moot.conflict: must be one of off, warn, vote"),
        ({"replay": "yes"}, "moot.replay: must be true or false"),
        ({"reclaim_after": "-1s"}, "moot.reclaim_after: '-1s' is no duration"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_key(tmp_path: Path, tree: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, {"moot": tree})
    assert str(caught.value).startswith(f"{tmp_path / 'agent.json'}: moot.")
    assert words in str(caught.value)


def test_a_mistake_in_a_handler_flag_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="--event-handler: event handler 'user:=' names no script"):
        loaded(tmp_path, moot__event_handlers=["user:="])


def test_handlers_of_files_and_flags_add_up(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"moot": {"event_handlers": ["user=a"]}}, moot__event_handlers=["query:x=b", "c"])
    assert [handler.script for handler in settings.handlers] == ["a", "b", "c"]


def test_names_are_voted_about_in_serf_pools_and_warned_about_in_nomad_pools(tmp_path: Path) -> None:
    for pool, conflict in (("serf", "vote"), ("nomad", "warn")):
        settings = loaded(tmp_path, moot__pool=pool)
        assert node_settings(settings, Address(bytes(4), 1), "").serf.conflict == conflict
        given = loaded(tmp_path, moot__pool=pool, moot__conflict="off")
        assert node_settings(given, Address(bytes(4), 1), "").serf.conflict == "off"


def test_a_name_may_be_reclaimed_after_the_time_given(tmp_path: Path) -> None:
    assert loaded(tmp_path, moot__reclaim_after="30s").swim.dead_node_reclaim_time == 30


def test_a_client_rpc_that_obeys_everybody_is_warned_about(tmp_path: Path) -> None:
    def warned(**flags: object) -> bool:
        return any("the client RPC on" in each for each in loaded(tmp_path, **flags).warnings())

    assert warned(moot__ipc_addr="0.0.0.0")
    assert not warned(moot__ipc_addr="127.0.0.9")
    assert not warned(moot__ipc_addr="0.0.0.0", moot__ipc_auth="word")


def test_to_rejoin_without_a_snapshot_is_warned_about(tmp_path: Path) -> None:
    assert "give --data-dir or --snapshot" in loaded(tmp_path, server__rejoin_after_leave=True).warnings()[-1]
    kept = loaded(tmp_path, server__rejoin_after_leave=True, moot__snapshot="x")
    assert not any("--snapshot" in each for each in kept.warnings())


def test_the_word_for_the_client_rpc_is_not_in_the_text_of_the_settings(tmp_path: Path) -> None:
    settings = loaded(tmp_path, moot__ipc_auth="open-sesame")
    assert settings.ipc_auth == "open-sesame"
    assert "open-sesame" not in repr(settings)


# ---- files


def test_a_data_directory_has_places_for_snapshot_and_keyring(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    plain = loaded(tmp_path, data_dir=str(data))
    assert plain.snapshot == data / "serf" / "local.snapshot"
    assert keyring_file(plain) is None
    sealed = loaded(tmp_path, data_dir=str(data), server__encrypt=KEY)
    assert keyring_file(sealed) == data / "serf" / "local.keyring"
    made = node_settings(sealed, Address(bytes(4), 1), "")
    assert (made.snapshot, made.keyring_file) == (sealed.snapshot, keyring_file(sealed))
    assert (data / "serf").stat().st_mode & 0o777 == 0o700


def test_files_that_are_given_count_before_those_of_the_data_directory(tmp_path: Path) -> None:
    given = loaded(tmp_path, data_dir=str(tmp_path), moot__snapshot="my.snapshot", moot__keyring_file="my.keyring")
    assert (given.snapshot, keyring_file(given)) == (Path("my.snapshot"), Path("my.keyring"))


def test_a_keyring_in_the_data_directory_counts_without_a_key_too(tmp_path: Path) -> None:
    (tmp_path / "serf").mkdir()
    save_keys(tmp_path / "serf" / "local.keyring", [NEW])
    settings = loaded(tmp_path, data_dir=str(tmp_path))
    keyring = node_settings(settings, Address(bytes(4), 1), "").keyring()
    assert keyring is not None
    assert keyring.keys == [NEW]


def test_a_key_that_the_keyring_overrules_is_named_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    settings = loaded(tmp_path, moot__keyring_file=str(path), server__encrypt=KEY)
    assert overruled_key(settings) is None  # there is no file yet
    save_keys(path, [OLD, NEW])
    assert overruled_key(settings) is None
    save_keys(path, [NEW, OLD])
    warning = overruled_key(settings)
    assert warning is not None
    assert f"the key that was given ({key_id(OLD)}) is not used: {path} counts" in warning
    assert key_id(NEW) in warning
    assert not any(base64.b64encode(key).decode() in warning for key in (OLD, NEW))


def test_a_keyring_that_cannot_be_looked_for_is_told_in_words(tmp_path: Path) -> None:
    for flags in ({"moot__keyring_file": "x" * 300}, {"data_dir": f"/{'x' * 300}"}):
        with pytest.raises(ConfigError, match=r"keyring file .*: File name too long"):
            keyring_file(loaded(tmp_path, **flags, server__encrypt=KEY))


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "serf").touch()
    with pytest.raises(ConfigError, match="serf: File exists; give another --data-dir"):
        node_settings(loaded(tmp_path, data_dir=str(tmp_path)), Address(bytes(4), 1), "")


# ---- tags


@pytest.mark.parametrize(
    ("held", "before", "after", "expected"),
    [
        ({}, {}, {"a": "1"}, {"a": "1"}),
        ({"a": "1"}, {"a": "1"}, {"a": "2"}, {"a": "2"}),
        ({"a": "1", "b": "1"}, {"a": "1", "b": "1"}, {"b": "1"}, {"b": "1"}),
        ({"a": "1", "mine": "x"}, {"a": "1"}, {"a": "2"}, {"a": "2", "mine": "x"}),
        ({"a": "live"}, {"a": "1"}, {"a": "1"}, {"a": "live"}),
        ({"a": "live"}, {"a": "1"}, {"a": "2"}, {"a": "2"}),
        ({"a": "live"}, {"a": "1"}, {}, {}),
        ({}, {"a": "1"}, {"a": "1"}, {}),
        ({"a": "live"}, {}, {"a": "1"}, {"a": "1"}),
    ],
)
def test_a_reload_takes_over_what_the_settings_say_otherwise_than_before(
    held: dict[str, str], before: dict[str, str], after: dict[str, str], expected: dict[str, str]
) -> None:
    assert reloaded_tags(held, before, after) == expected


# ---- interfaces


def test_an_interface_is_found_by_name_or_taken_as_an_ip() -> None:
    assert interface_host("lo") == "127.0.0.1"
    assert interface_host("127.0.0.9") == "127.0.0.9"
    assert interface_host("::1") == "::1"


@pytest.mark.parametrize("name", ["no-such-if0", "", "x" * 300, "a\0b", "\udcff"])
def test_an_interface_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no network interface"):
        interface_host(name)
