"""docs/http-api.md: what is made of it is as the routes are described, and its examples work."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.api.live_situations import Stage, staged
from tests.api.reference import BEGIN, END, PART, reference
from tests.api.situations import KEY
from tests.api.test_openapi import DOCUMENT
from tests.conftest import require_tool

PAGE = Path(__file__).parents[2] / "docs" / "http-api.md"
EXAMPLE = re.compile(r"^```\n(curl -s.*)\n```$", re.MULTILINE)
ANSWERED = " %{http_code}"


def test_the_reference_is_made_of_the_descriptions(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text()
    if request.config.getoption("--rewrite"):
        PAGE.write_text(PART.sub(lambda _: reference(DOCUMENT), text))
        return
    (made,) = PART.findall(text)
    assert made == reference(DOCUMENT), "`make docs` makes it anew"


def test_a_description_that_changed_shows() -> None:
    held = reference(DOCUMENT)
    first, *_ = DOCUMENT["paths"].values()
    changed = {**DOCUMENT, "paths": {"/v1/new": first}}
    assert reference(changed) != held
    assert held.startswith(BEGIN)
    assert held.endswith(END)


def three_agents(stage: Stage) -> None:
    own = stage.place.host(1)
    roles = ("--server", "--client", "--servers", own)
    stage.start("moot-1", 1, *roles, "--encrypt", KEY, settings={"enable_debug": True})
    for number in (2, 3):
        stage.start(f"moot-{number}", number, "--encrypt", KEY)
    stage.join()


@pytest.mark.live
def test_the_examples_work(tmp_path: Path) -> None:
    require_tool("curl", "Debian's package curl")
    with staged(tmp_path, three_agents) as stage:
        url = f"http://{stage.place.host(1)}:4646"
        examples = EXAMPLE.findall(PAGE.read_text())
        assert len(examples) > 30
        examples.sort(key=lambda each: "/v1/moot/leave" in each)
        for example in examples:
            endless = example.startswith("curl -sN") and "-X" not in example
            seconds = "1" if endless else "60"
            here = example.replace("127.77.0.", f"{stage.place.host(0)[:-1]}")
            command = f"{here} --max-time {seconds} -o /dev/null -w '{ANSWERED}'"
            surroundings = {**os.environ, "A": url, "C": url}
            done = subprocess.run(["sh", "-c", command], env=surroundings, capture_output=True, check=False)
            assert done.stdout.decode().endswith(" 200"), (example, done)
            assert done.returncode == (28 if endless else 0), (example, done)
