"""`moot token`, and commands that need one."""

import json
import tomllib
from pathlib import Path

import pytest

from moot.http.acl import Right, parse_tokens
from tests.cli.running import launched, moot


def test_a_token_is_shown_once_and_its_entry_is_ready_to_be_used(tmp_path: Path) -> None:
    done = moot("token", "ops", "--right", "agent:write", "--right", "node:read", "--right", "node:read")
    assert done.returncode == 0
    head, _, entry = done.stdout.partition("In the configuration:\n")
    secret = head.split()[1]
    assert secret not in entry
    (token,) = parse_tokens(tomllib.loads(entry)["acl"]["tokens"])
    assert token.rights == set(Right)
    again = json.loads(moot("token", "ops", "--right", "management", "--json").stdout)
    assert set(again) == {"name", "token", "entry"}
    assert again["token"] != secret


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("ops",), "--right"),
        (("ops", "--right", "root"), "root"),
        (("a b", "--right", "management"), "letters, digits"),
        (("anonymous", "--right", "node:read"), 'tokens = { anonymous = "node:read" }'),
    ],
)
def test_what_can_be_no_token_is_refused(arguments: tuple[str, ...], text: str) -> None:
    done = moot("token", *arguments)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.live
def test_commands_take_the_token_from_the_environment(tmp_path: Path) -> None:
    made = json.loads(moot("token", "ops", "--right", "node:read", "--json").stdout)
    config = tmp_path / "agent.json"
    config.write_text(json.dumps({"acl": {"enabled": True, "tokens": {"ops": made["entry"]}}}))
    with launched("--config", str(config)) as agent:
        for variable in ("MOOT_TOKEN", "NOMAD_TOKEN"):
            assert moot("members", "--address", agent.url, **{variable: made["token"]}).returncode == 0
        refused = moot("info", "--address", agent.url, MOOT_TOKEN=made["token"])
        assert refused.returncode == 1
        assert "Permission denied (HTTP 403). Hint: the agent asks for a token" in refused.stderr
        unknown = moot("members", "--address", agent.url, MOOT_TOKEN="wrong")
        assert "ACL token not found" in unknown.stderr
        assert made["token"] not in agent.text()
