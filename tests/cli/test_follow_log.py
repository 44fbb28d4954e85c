"""Following an agent's log: each follower in its own form and from its own level on."""

import io
import json
import re

from moot.agent.logs import Logs

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def made(level: str = "error") -> Logs:
    """Logs that write nowhere that matters."""
    return Logs(level=level, as_json=False, stream=io.StringIO())


def test_a_follower_gets_finer_lines_than_the_log_and_no_coarser_ones_than_it_asked_for() -> None:
    logs, lines = made(), list[str]()
    log = logs.logger("serf")
    logs.follow(lines.append, level="debug", as_json=False, located=False)
    log.trace("too fine")
    log.debug("some text", key="two words")
    assert len(lines) == 1
    assert re.fullmatch(STAMP + r' \[DEBUG\] serf: some text: key="two words"', lines[0])


def test_forms_do_not_mix() -> None:
    logs, plain, as_json, located = made(), list[str](), list[str](), list[str]()
    logs.follow(plain.append, level="trace", as_json=False, located=False)
    logs.follow(as_json.append, level="trace", as_json=True, located=True)
    logs.follow(located.append, level="trace", as_json=False, located=True)
    logs.follow(plain.append, level="warn", as_json=False, located=False)
    for _ in range(2):  # the first call of a logger binds it
        logs.logger("m").info("text", n=1)
    assert len(plain) == 2
    entry = json.loads(as_json[1])
    assert (entry["@message"], entry["@module"], entry["@level"], entry["n"]) == ("text", "m", "info", 1)
    assert re.fullmatch(r"\S*test_follow_log\.py:\d+", entry["@caller"])
    assert re.fullmatch(STAMP + r" \[INFO\]  \S*test_follow_log\.py:\d+: m: text: n=1", located[0])


def test_off_is_no_line_and_the_end_is_the_end() -> None:
    logs, lines = made(), list[str]()
    logs.follow(lines.append, level="off", as_json=False, located=False)
    unfollow = logs.follow(lines.append, level="trace", as_json=False, located=False)
    unfollow()
    unfollow()
    logs.logger("m").error("text")
    assert lines == []


def test_places_in_our_own_code_begin_at_the_package() -> None:
    logs, lines = made(), list[str]()
    logs.follow(lines.append, level="trace", as_json=True, located=True)
    code = compile("log.info('x')", "/opt/lib/moot/agent/event_log.py", "exec")
    exec(code, {"log": logs.logger("m")})
    assert json.loads(lines[0])["@caller"] == "agent/event_log.py:1"


def test_followers_do_not_change_what_the_log_itself_says() -> None:
    stream = io.StringIO()
    logs = Logs(level="info", as_json=False, stream=stream)
    logs.follow(lambda line: None, level="trace", as_json=True, located=True)
    logs.logger("m").info("text", n=1)
    logs.logger("m").debug("text")
    assert re.fullmatch(STAMP + r" \[INFO\]  m: text: n=1\n", stream.getvalue())
