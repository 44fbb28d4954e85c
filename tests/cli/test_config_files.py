"""Configuration files of Nomad's agents, as deployments have them: they start ours, and meet as in Nomad."""

import json
import os
import time
from pathlib import Path

import pytest

from moot.agent.config import load
from moot.agent.schema import ConfigProblems
from moot.agent.settings import Settings
from moot.gossip.errors import ConfigError

NOMAD = Path(__file__).parents[1] / "fixtures" / "nomad"


def from_texts(folder: Path, *texts: str, ending: str = "hcl") -> Settings:
    for number, text in enumerate(texts):
        (folder / f"{number}.{ending}").write_text(text)
    return load([folder])


def test_a_servers_file_starts_a_server() -> None:
    settings = load([NOMAD / "server.hcl"])
    assert (settings.is_server, settings.client.enabled) == (True, False)
    assert (settings.region, settings.datacenter, settings.gossip_name) == ("eu", "fra1", "nomad-server-1.eu")
    assert str(settings.bind["http"]) == "0.0.0.0:4646"
    assert [str(settings.advertise[name]) for name in ("http", "rpc", "serf")] == [
        "127.0.0.21:4646",
        "127.0.0.21:4647",
        "127.0.0.21:4648",
    ]
    assert settings.retry_join == ("127.0.0.22", "127.0.0.23:4648")
    assert (settings.retry_interval, settings.retry_max, settings.bootstrap_expect) == (15.0, 0, 3)
    assert len(settings.keys[0]) == 16
    assert (settings.registry.heartbeat_grace, settings.registry.max_heartbeats_per_second) == (20.0, 30.0)
    assert (settings.limits.http_max_conns_per_client, settings.limits.rpc_handshake_timeout) == (200, 0.0)
    assert (settings.telemetry.collection_interval, settings.telemetry.disable_hostname) == (10.0, True)
    assert settings.api.acl.enabled
    assert settings.response_headers == {"Access-Control-Allow-Origin": "*", "X-Frame-Options": "DENY"}
    assert settings.leave_on_terminate


def test_what_a_cloud_could_answer_is_left_out_and_said() -> None:
    (warning,) = [line for line in load([NOMAD / "server.hcl"]).warnings() if "provider=" in line]
    assert warning.startswith("server.retry_join: this agent cannot ask a cloud")


def test_keys_of_what_this_agent_does_not_have_are_listed_once_each() -> None:
    foreign = load([NOMAD / "server.hcl"]).foreign
    assert len(set(foreign)) == len(foreign)
    assert {"ui", "audit", "autopilot", "acl.replication_token", "server.license_path", "log_file"} <= set(foreign)


def test_a_clients_file_starts_a_client_and_no_server() -> None:
    settings = load([NOMAD / "client.hcl"])
    assert (settings.is_server, settings.client.enabled) == (False, True)
    assert settings.client.servers == ("127.0.0.21:4647", "127.0.0.22")
    assert (settings.client.retry_join, settings.client.retry_max) == (("127.0.0.23",), 3)
    assert settings.client.node_class == "worker"
    assert settings.client.meta == {
        "rack": "r12",
        "slots": "8",
        "motd": "welcome to\n  ${node.unique.name}\n",
    }
    assert settings.bind_addr == "127.0.0.1"  # what the template stands for
    assert settings.telemetry.statsd_address == "127.0.0.1:8125"
    assert {"client.options", "client.chroot_env", "plugin", "vault", "consul"} <= set(settings.foreign)


def test_a_json_file_written_for_hcl_starts_both() -> None:
    settings = load([NOMAD / "both.json"])
    assert (settings.is_server, settings.client.enabled) == (True, True)
    assert (settings.bootstrap_expect, settings.retry_join) == (1, ("127.0.0.21",))
    assert settings.client.meta == {"rack": "r1", "slots": "2"}
    assert settings.bind["serf"].port == 0


def test_json_is_known_by_its_brace_whatever_the_name_of_the_file(tmp_path: Path) -> None:
    assert load([NOMAD / "json-in.hcl"]).start_join == ("127.0.0.21",)
    other = tmp_path / "agent.conf"
    other.write_text('name = "by content"')
    assert load([other]).name == "by content"


def test_a_directory_is_read_by_name_and_its_files_meet_as_in_nomad() -> None:
    settings = load([NOMAD / "split"])
    assert [file.name for file in settings.files] == ["10-base.hcl", "20-site.json", "30-host.hcl"]
    assert settings.datacenter == "fra2"
    assert settings.retry_join == ("127.0.0.21", "127.0.0.22")
    assert settings.is_server  # a later false does not unset it
    assert settings.rejoin_after_leave
    assert settings.origins["server.retry_join"] == (
        f"{NOMAD / 'split' / '10-base.hcl'}:5",
        str(NOMAD / "split" / "20-site.json"),
    )


def test_lists_in_server_join_replace_each_other_and_its_numbers_stay(tmp_path: Path) -> None:
    settings = from_texts(
        tmp_path,
        'server { server_join { retry_join = ["a"] retry_max = 3 start_join = ["x"] } }',
        'server { server_join { retry_join = ["b"] retry_max = 0 } }',
    )
    assert settings.retry_join == ("b",)
    assert settings.start_join == ("x",)
    assert settings.retry_max == 3


@pytest.mark.parametrize("name", ["start_join", "retry_join"])
def test_server_join_and_the_keys_beside_it_exclude_each_other(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"server_join and {name} cannot both be defined") as caught:
        from_texts(tmp_path, f'server {{ {name} = ["a"] }}', 'server { server_join { retry_join = ["b"] } }')
    assert str(caught.value).startswith(f"{tmp_path / '0.hcl'}:1: server.{name}: ")
    assert f"{tmp_path / '1.hcl'}:1" in str(caught.value)


def test_a_client_takes_no_start_join(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a client takes no start_join"):
        from_texts(tmp_path, 'client { enabled = true server_join { start_join = ["a"] } }')


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("[server\n")
    with pytest.raises(ConfigProblems) as caught:
        from_texts(
            tmp_path, "zork = 1\nserver {\n  enabeld = true\n}", 'log_level = "x"\nports { http = 99999 }', "a = ["
        )
    places = [(problem.place, problem.key) for problem in caught.value.problems]
    assert places[:4] == [
        (f"{tmp_path / '0.hcl'}:1", ""),
        (f"{tmp_path / '0.hcl'}:3", ""),
        (f"{tmp_path / '1.hcl'}:1", "log_level"),
        (f"{tmp_path / '1.hcl'}:2", "ports.http"),
    ]
    said = str(caught.value).splitlines()
    assert len(said) == 6
    assert said[1] == f"{tmp_path / '0.hcl'}:3: unknown key server.enabeld; did you mean server.enabled?"
    assert said[4].startswith(f"{tmp_path / '2.hcl'}:1: cannot be read as HCL: ")
    assert said[5].startswith(f"{tmp_path / 'd.toml'}: cannot be read as TOML: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("consull { }", "did you mean consul?"),
        ("client { alocdir = 1 }", "did you mean client.alloc_dir?"),
        ("telemetry { statsd_adress = 1 }", "did you mean telemetry.statsd_address?"),
        ('encrypt = "x"', "it belongs to a block: server.encrypt"),
        ("server = 1", "must be a block, such as server with the key enabled in it"),
        ('bind_addr = "{{ GetInterfaceIP \\"none\\" }}"', "finds no address on this host"),
        ('bind_addr = "{{ GetAllInterfaces | sort \\"x\\" }}"', "is not known here, only GetPrivateIP"),
        ('bind_addr = "{{ }}"', "is not known here"),
    ],
)
def test_what_was_probably_meant_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        from_texts(tmp_path, text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ GetInterfaceIP `lo` }}",
        '{{ GetAllInterfaces | include "name" "^lo$" | include "type" "ipv4" | limit 1 | attr "address" }}',
        '{{ GetAllInterfaces | include "network" "127.0.0.0/8" | exclude "name" "eth" | limit 1 }}',
    ],
)
def test_an_address_may_be_a_template(tmp_path: Path, template: str) -> None:
    assert from_texts(tmp_path, f"bind_addr = {json.dumps(template)}").bind_addr == "127.0.0.1"


def test_a_key_may_be_there_twice_in_json_if_it_is_a_block(tmp_path: Path) -> None:
    settings = from_texts(
        tmp_path, '{"keyring": {"a": {}}, "keyring": {}, "ports": {"http": 1}, "ports": {"rpc": 2}}'
    )
    assert (settings.bind["http"].port, settings.bind["rpc"].port) == (1, 2)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("", "must hold one word and nothing else"),
        ("a b", "must hold one word and nothing else"),
        ("x" * 5000, "has at most 4096 bytes"),
        ("\udcff", "holds no text"),
        ("bm8=", "Invalid encryption key"),
        (None, "No such file"),
    ],
)
def test_a_file_with_a_secret_that_cannot_be_used_is_named_and_not_repeated(
    tmp_path: Path, made: str | None, words: str
) -> None:
    secret = tmp_path / "key"
    if made is not None:
        secret.write_text(made, errors="surrogateescape")
    with pytest.raises(ConfigError) as caught:
        from_texts(tmp_path, f'moot {{ encrypt_file = "{secret}" }}')
    assert words in str(caught.value)
    assert "moot.encrypt_file" in str(caught.value)
    assert not made or made.strip() not in str(caught.value)


def test_of_a_secret_and_its_file_the_later_one_counts(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("from-a-file\n")
    in_file, itself = f'moot {{ ipc_auth_file = "{tmp_path / "word"}" }}', 'moot { ipc_auth = "itself" }'
    assert from_texts(tmp_path, in_file, itself).ipc_auth == "itself"
    assert from_texts(tmp_path, itself, in_file).ipc_auth == "from-a-file"
    with pytest.raises(ConfigError, match=r"moot\.ipc_auth is given as well"):
        from_texts(tmp_path, in_file + "\n" + itself, "")


def test_a_pipe_with_a_secret_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(ConfigError, match="is no regular file"):
        from_texts(tmp_path, f'moot {{ encrypt_file = "{tmp_path / "key"}" }}')


def test_odd_expectations_and_tokens_that_nobody_has_deserve_a_word(tmp_path: Path) -> None:
    assert "an odd number of servers" in " ".join(from_texts(tmp_path, "server { bootstrap_expect = 2 }").warnings())
    assert "is 1: others take" in " ".join(from_texts(tmp_path, "server { bootstrap_expect = 1 }").warnings())
    assert "no token is known" in " ".join(from_texts(tmp_path, "acl { enabled = true }").warnings())


def test_null_is_the_same_as_nothing(tmp_path: Path) -> None:
    settings = from_texts(
        tmp_path, '{"region": null, "ports": null, "server": [null, {"retry_max": 2}]}', ending="json"
    )
    assert (settings.region, settings.bind["http"].port, settings.retry_max) == ("global", 4646, 2)


def test_servers_that_no_client_can_turn_to_are_told_when_the_file_is_read(tmp_path: Path) -> None:
    text = 'client {\n  enabled = true\n  servers = ["10.0.0.1", "a:99999", "0.0.0.0", "s1.example:4647"]\n}\n'
    said = from_texts(tmp_path, text).warnings()
    assert [line for line in said if line.startswith("client.servers")] == [
        "client.servers: address 99999: invalid port; it is left out",
        "client.servers: address 0.0.0.0: no server listens at 0.0.0.0; it is left out",
    ]


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 500_000) + " = 1",
        "b = {" + ".".join("a" * 500_000) + " = 1}",
        "[ " + " . ".join(["'a'", '"b\\""'] * 50_000) + " ]",
        "[[x]]\n" + "[" + ".".join("a" * 2_000) + "]\n" + "b.c=1\n" * 6_000,
    ],
)
def test_a_toml_file_of_endless_keys_is_refused_at_once(text: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="nested too deeply"):
        from_texts(tmp_path, text, ending="toml")
    assert time.monotonic() - begun < 20


def test_dots_in_a_text_of_a_toml_file_are_no_key(tmp_path: Path) -> None:
    text = ", ".join([".".join("0" * 32)] * 2) + ".ip6.arpa"
    said = from_texts(tmp_path, f'[moot.tags]\nptr = "{text[:65]}"\nother = "x"\n', ending="toml")
    assert said.tags["ptr"] == text[:65]
