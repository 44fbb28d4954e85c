"""`moot config check` and `moot config show`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from moot.agent.cli import run
from moot.agent.commands.agent import command as agent_command
from moot.agent.config import load
from moot.agent.config_show import Language, as_text, shown
from moot.agent.go_flags import GoFlags
from moot.agent.key_table import KEYS

NOMAD = Path(__file__).parents[1] / "fixtures" / "nomad"
LANGUAGES: tuple[Language, ...] = ("hcl", "toml")
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOOT_ENCRYPT", "MOOT_IPC_AUTH"):
        monkeypatch.delenv(name, raising=False)


def test_a_good_file_is_told_with_what_it_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", str(NOMAD / "client.hcl")]) == 0
    out = capsys.readouterr().out
    assert "accepted without effect, for what this agent does not have: client.chroot_env, " in out
    assert "1 file, no mistake: " in out
    assert out.endswith("would start as a client\n")


def test_mistakes_are_told_one_a_line_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.hcl"
    file.write_text("zork = 1\nports { http = -1 }\n")
    assert run(["config", "check", str(file), str(tmp_path / "none")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{file}:1: unknown key zork; ")
    assert lines[1].startswith(f"{file}:2: ports.http: must be ")
    assert lines[2].endswith("no such file or directory")
    assert lines[3] == "moot: 3 mistakes; no agent would start"


def test_the_check_is_json_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", "--json", str(NOMAD / "split")]) == 0
    good = json.loads(capsys.readouterr().out)
    assert (good["ok"], len(good["files"]), good["mistakes"], good["without_effect"]) == (True, 3, [], ["sentinel"])
    file = tmp_path / "a.hcl"
    file.write_text("\nlog_json = 3\n")
    assert run(["config", "check", "--json", str(file)]) == 1
    captured = capsys.readouterr()
    bad = json.loads(captured.out)
    assert bad["mistakes"] == [{"source": str(file), "line": 2, "key": "log_json", "text": "must be true or false"}]
    assert captured.err == ""


def test_a_name_from_a_file_cannot_send_anything_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"\x1b[2Jx": 1}))
    assert run(["config", "check", str(file)]) == 1
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["server.hcl", "client.hcl", "both.json", "split"])
def test_what_is_shown_says_the_same_when_it_is_read(tmp_path: Path, name: str, language: Language) -> None:
    settings = load([NOMAD / name])
    file = tmp_path / f"again.{language}"
    file.write_text(as_text(shown(settings), language, sources=True))
    again = load([file])
    held = {key for key, entry in KEYS.items() if not entry.secret}
    held -= {"server.retry_join"}  # here a cloud was asked
    assert {key: again.in_force[key] for key in held} == {key: settings.in_force[key] for key in held}


def test_odd_texts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = {"a b": '"${x}"\\ \n\t\x7f', "": "é😀", "dots.and-more": "# no comment"}
    source = tmp_path / "a.json"
    source.write_text(json.dumps({"moot": {"tags": odd}}))
    entries = shown(load([source]))
    for language in LANGUAGES:
        file = tmp_path / f"b.{language}"
        file.write_text(as_text(entries, language, sources=True))
        assert load([file]).tags == odd


def test_sources_and_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.hcl"
    file.write_text(f'name = "a"\nserver {{ encrypt = "{KEY}" }}\nacl {{ tokens {{ anonymous = "agent:read" }} }}\n')
    monkeypatch.setenv("MOOT_IPC_AUTH", "so-secret")
    monkeypatch.setenv("MOOT_TAGS", "rack=7")
    for flags in ([], ["--toml"], ["--json"], ["--json", "--sources"], ["--sources"], ["--changed"]):
        assert run(["config", "show", *flags, str(file)]) == 0
        out = capsys.readouterr().out
        assert KEY not in out
        assert "so-secret" not in out
        assert "agent:read" not in out
    assert run(["config", "show", "--json", "--sources", str(file)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == {"value": "a", "sources": [f"{file}:1"]}
    assert told["server.encrypt"] == {"value": "<redacted>", "sources": [f"{file}:2"]}
    assert told["acl.tokens"]["value"] == {"anonymous": "<redacted>"}
    assert told["moot.tags"] == {"value": {"rack": "7"}, "sources": ["MOOT_TAGS"]}
    assert told["region"] == {"value": "global", "sources": ["default"]}


def test_a_mistake_stops_the_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.hcl"
    file.write_text("zork = 1")
    assert run(["config", "show", str(file)]) == 1
    assert run(["config", "show", "--json", "--toml"]) == 2
    monkeypatch.setenv("MOOT_PROFILE", "zork")
    assert run(["config", "show"]) == 2


def test_flags_of_the_agent_may_have_one_dash_as_nomads() -> None:
    assert isinstance(agent_command, GoFlags)
    result = CliRunner().invoke(
        agent_command, ["-dev", "-config=/none", "-retry-join", "-x", "--tag", "-node=1", "-zork", "-node", "a"]
    )
    assert result.exit_code == 2
    assert "-z" in result.output  # all before it was understood
    assert CliRunner().invoke(agent_command, ["-help"]).exit_code == 0
