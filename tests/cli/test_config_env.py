"""Settings from variables: their names, their values, and where they stand among the other sources."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.config import Flag, FlagError, load
from moot.agent.config_env import ALIASES, COMMAND_LINE, SECRETS, VARIABLES, from_environment, variable
from moot.agent.key_table import KEYS
from moot.agent.settings import Settings
from moot.gossip.errors import ConfigError

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def with_variables(**environment: str) -> Settings:
    return load([], environment=environment)


def test_every_key_has_a_variable_of_its_own() -> None:
    assert len({variable(key) for key in KEYS}) == len(KEYS)
    assert not {variable(key) for key in KEYS} & (COMMAND_LINE | ALIASES.keys())
    assert variable("server.server_join.retry_join") == "MOOT_SERVER_SERVER_JOIN_RETRY_JOIN"
    assert variable("moot.timing.probe_interval") == "MOOT_TIMING_PROBE_INTERVAL"


def test_a_variable_says_what_a_file_would() -> None:
    settings = with_variables(
        MOOT_NAME="a",
        MOOT_PORTS_HTTP="0",
        MOOT_LEAVE_ON_TERMINATE="true",
        MOOT_SERVER_RETRY_JOIN="a, b:1,",
        MOOT_SERVER_RETRY_INTERVAL="1m30s",
        MOOT_SERVER_MAX_HEARTBEATS_PER_SECOND="2.5",
        MOOT_TAGS="rack=7,motd=a=b",
        MOOT_HTTP_API_RESPONSE_HEADERS='{"X-One": "1, 2"}',
        MOOT_EVENT_HANDLERS='["member-join=a,b"]',
        MOOT_PROFILE="local",
        MOOT_ENCRYPT=KEY,
    )
    assert (settings.name, settings.bind["http"].port, settings.leave_on_terminate) == ("a", 0, True)
    assert (settings.retry_join, settings.retry_interval) == (("a", "b:1"), 90.0)
    assert settings.registry.max_heartbeats_per_second == 2.5
    assert settings.tags == {"rack": "7", "motd": "a=b"}
    assert settings.response_headers == {"X-One": "1, 2"}
    assert len(settings.handlers) == 1
    assert settings.profile == "local"
    assert settings.keys == (bytes(range(32)),)


def test_variables_lie_between_files_and_flags(tmp_path: Path) -> None:
    file = tmp_path / "a.hcl"
    file.write_text('name = "file"\nregion = "file"\nlog_json = true\nserver { retry_join = ["file"] }')
    environment = {
        "MOOT_REGION": "variable",
        "MOOT_DATACENTER": "variable",
        "MOOT_LOG_JSON": "false",
        "MOOT_SERVER_RETRY_JOIN": "variable",
    }
    flags = [Flag("--dc", "datacenter", "flag"), Flag("--retry-join", "server.retry_join", ["flag"])]
    settings = load([file], flags, environment=environment)
    assert (settings.name, settings.region, settings.datacenter) == ("file", "variable", "flag")
    assert settings.log_json is False  # in a variable, false counts
    assert settings.retry_join == ("file", "variable", "flag")
    assert settings.origins["server.retry_join"] == (f"{file}:4", "MOOT_SERVER_RETRY_JOIN", "--retry-join")
    assert settings.origins["datacenter"] == ("--dc",)


def test_files_may_use_server_join_though_variables_and_flags_name_more_to_join(tmp_path: Path) -> None:
    file = tmp_path / "a.hcl"
    file.write_text('server { server_join { retry_join = ["file"] } }')
    assert load([file], environment={"MOOT_SERVER_RETRY_JOIN": "variable"}).retry_join == ("file", "variable")


def test_a_variable_of_server_join_says_the_same_as_the_one_beside_it() -> None:
    assert with_variables(MOOT_SERVER_SERVER_JOIN_RETRY_JOIN="a,b").retry_join == ("a", "b")
    assert with_variables(MOOT_CLIENT_SERVER_JOIN_RETRY_JOIN="a").client.retry_join == ("a",)
    with pytest.raises(FlagError, match="is given as MOOT_SERVER_RETRY_JOIN too"):
        with_variables(MOOT_SERVER_SERVER_JOIN_RETRY_JOIN="a", MOOT_SERVER_RETRY_JOIN="b")


def test_an_empty_variable_is_the_same_as_none() -> None:
    assert with_variables(MOOT_REGION="", MOOT_PORTS_HTTP="", MOOT_ENCRYPT="").region == "global"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MOOT_PORTS_HTTP", "x", "must be a number"),
        ("MOOT_PORTS_HTTP", "99999", "must be a port"),
        ("MOOT_LOG_JSON", "yes", "must be true or false"),
        ("MOOT_TAGS", "a", "must be NAME=VALUE with commas between, or a JSON object"),
        ("MOOT_TAGS", "{", "begins like JSON and is none"),
        ("MOOT_TAGS", '{"a": 1}', "must be a block of names with text values"),
        ("MOOT_SERVER_RETRY_JOIN", "[1]", "must be a list of texts"),
        ("MOOT_ENCRYPT", "c2VjcmV0", "Invalid encryption key"),
        ("MOOT_ENCRYPT_FILE", "/nowhere/key", "No such file"),
    ],
)
def test_a_mistake_names_the_variable_and_repeats_no_secret(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_variables(**{name: value})
    assert str(caught.value).startswith(name)
    assert words in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_two_names_for_one_key_are_one_too_many() -> None:
    with pytest.raises(FlagError, match="is given as MOOT_ENCRYPT too"):
        with_variables(MOOT_ENCRYPT=KEY, MOOT_SERVER_ENCRYPT=KEY)


def test_a_secret_may_be_in_a_file_that_a_variable_names(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    settings = with_variables(MOOT_ENCRYPT_FILE=str(file))
    assert settings.keys == (bytes(range(32)),)
    assert settings.origins["server.encrypt"] == ("MOOT_ENCRYPT_FILE", str(file))


def test_a_variable_that_was_probably_meant_to_be_a_key_is_told() -> None:
    warnings = with_variables(MOOT_SERVER_RETRYJOIN="x", MOOT_ADDR="x", MOOT_ZORK="x", HOME="/").warnings()
    assert (
        warnings[0] == "the variable MOOT_SERVER_RETRYJOIN means nothing here; did you mean MOOT_SERVER_RETRY_JOIN?"
    )
    assert not any("MOOT_ADDR" in line or "MOOT_ZORK" in line for line in warnings)


def test_variables_with_secrets_are_known() -> None:
    assert {"MOOT_ENCRYPT", "MOOT_SERVER_ENCRYPT", "MOOT_IPC_AUTH", "MOOT_ACL_TOKENS"} == SECRETS


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=20), max_size=3))
def test_whatever_variables_hold_is_settings_or_problems_that_name_them(environment: dict[str, str]) -> None:
    flat, _ = from_environment(environment)
    assert {problem.source for problem in flat.problems} <= environment.keys()
    assert {VARIABLES[name] for name in environment} >= flat.layer.keys()
