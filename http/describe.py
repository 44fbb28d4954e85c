"""Doc: what a route takes and answers, in words for its users and in types for machines.

Each route carries its own (`Route.docs`), and `openapi` makes one document of all, so that there is nothing beside
the code to be kept the same. To describe a new route, write next to it:

    Route("/v1/moot/thing", READ | WRITE, self.thing, Role.SERVER, own_pages_only=True, right=None, docs=(
        Doc(
            "Show the thing.",                                   # one sentence, and what else must be known as `text`
            methods=READ,                                        # only where a route has more than one Doc
            right=Right.NODE_READ,                               # only where the handler calls `Call.require` itself
            parameters=(Parameter("name", "Which one.", required=True, example="a"),),
            answers=(Answer(ThingAnswer, "The thing as it is now."),),
            failures=(Failure(400, "missing name"), Failure(404, "nothing is called …")),
        ),
        Doc(
            "Change the thing.",
            methods=WRITE,
            right=Right.AGENT_WRITE,
            body=Body(ThingRequest, {"name": "a"}),
            answers=(Answer(None, "It is changed."),),           # None: nothing in it, and no Content-Type
            failures=(BAD_BODY,),
        ),
    ))

- **Shapes** are types that msgspec reads: structs, lists and mappings of them, `Literal`, `Annotated[…, Meta(…)]`.
  The docstring of a struct, and those below its fields, go into the document. Keys that are always sent count as
  required there, those of a struct with `omit_defaults` do not.
- **Failures** are the whole text of an error as it is answered; `…` stands for any text. Errors that are JSON are
  Answers with a status.
- **Not to be written**, for it follows from the Route: `pretty`, `stale`, `wait`, `index`, `per_page`, tokens, the
  right, the role (501, 400), the method (405), foreign pages and names (403), what any request may get (408, 413,
  429, 431, 503).
- **Examples** of parameters and bodies make the examples with curl in docs/http-api.md, which a test runs in order on
  an agent of both roles, moot-1, with others at 127.77.0.2 and .3 in an encrypted nomad pool.

`tests/api/test_openapi.py` fails for a route without a Doc, a method that none has, a parameter that is written and
not read or the other way round, and a right that is not the one asked for; `tests/api/test_schemathesis.py` for an
answer that a running agent gives and no Doc has. After a change, `make docs`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from moot.http.acl import Right
from moot.http.exchange import JSON

Shape = object
"""A type that msgspec reads."""

Name = Annotated[str, msgspec.Meta(min_length=1)]
"""A text that is not empty."""

Truth = Literal["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
"""A truth value in the spellings that Go takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request's body, JSON. With `required` an empty one is refused."""

    shape: Shape
    example: object = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query, or a header. With a list as its shape it may be repeated."""

    name: str
    text: str
    shape: Shape = str
    required: bool = False
    example: str = ""
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a shape; several of one status are alternatives."""

    shape: Shape
    """`str` for what is not JSON; None for an empty body."""
    text: str
    status: int = 200
    content_type: bytes = JSON
    streamed: bool = False
    """Whether it comes piece by piece, each of the shape."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in plain words: the whole body, with `…` for any text. `when` says when, unless the words do."""

    status: int
    words: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class Doc:
    """One operation: a path with some of its methods."""

    summary: str
    text: str = ""
    methods: frozenset[str] = frozenset()
    """Those of the route, unless given."""
    path: str = ""
    """That of the route, unless given: one below it where the route's is a prefix."""
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    answers: Sequence[Answer] = ()
    failures: Sequence[Failure] = ()
    right: Right | None = None
    """What the handler asks for itself, where the route does not."""


BAD_BODY: Final = Failure(400, "the body must be a JSON object with …", "the body is not as described")

PASSED_ON: Final = (
    Failure(500, "no servers", "an agent without the server role knows nobody to ask"),
    Failure(500, "…", "the server that was asked by RPC did not answer, or said so"),
)
"""For what agents without the server role ask others."""

REGION: Final = Parameter("region", "Of which region; that of the agent unless given.")

PRETTY: Final = Parameter("pretty", "In any form but `pretty=0`: indented by four blanks, with a line end.")

COMMON: Final[Sequence[Parameter]] = (
    Parameter("stale", "Whether not to wait for a leader. Empty counts as true.", Literal["", Truth]),
    Parameter(
        "wait",
        "A duration such as 5s. Checked and ignored: nothing here blocks.",
        Annotated[str, msgspec.Meta(pattern=r"^([+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+))?$")],
    ),
    Parameter("index", "A number. Checked and ignored.", Annotated[str, msgspec.Meta(pattern="^[0-9]{0,19}$")]),
    Parameter(
        "per_page", "A number. Checked and ignored.", Annotated[str, msgspec.Meta(pattern="^([+-]?[0-9]{1,9})?$")]
    ),
)
"""What routes with `checks_query` read."""

COMMON_FAILURES: Final = (
    Failure(400, "Expect `true` or `false` for `stale` query string parameter"),
    Failure(400, "Invalid wait time"),
    Failure(400, "Invalid index"),
    Failure(400, "Expect a number for `per_page` query string parameter"),
)

SHARED: Final[Mapping[str, Sequence[Failure]]] = {
    "NoRight": (
        Failure(403, "Permission denied", "the token lacks the right, or there is none"),
        Failure(403, "ACL token not found", "a token that nobody configured"),
        Failure(403, "requests from other sites are refused", "a web page of another site asks"),
        Failure(403, "this agent does not go by the name …", "Host is none of the agent's names"),
    ),
    "InvalidMethod": (Failure(405, "Invalid method", "this path does not take the method"),),
    "TooSlow": (
        Failure(408, "the request's headers did not arrive in time"),
        Failure(408, "the request's body did not arrive in time"),
    ),
    "TooLarge": (Failure(413, "the body must not exceed … bytes"),),
    "TooMany": (
        Failure(429, "too many connections", "from one IP"),
        Failure(429, "too many streams of one client at once"),
    ),
    "HeadersTooLarge": (Failure(431, "…", "more than 64 KiB of headers"),),
    "WrongRole": (Failure(501, "Invalid method", "the agent has not the role for it"),),
    "Unavailable": (
        Failure(503, "too many connections"),
        Failure(503, "too many long requests at once; try again when they are over"),
        Failure(503, "too many streams at once; try again when one of them is over"),
        Failure(503, "the agent is stopping"),
    ),
}
"""Answers that many operations share, by their name in the document."""

ANY_REQUEST: Final = ("InvalidMethod", "TooSlow", "TooLarge", "TooMany", "HeadersTooLarge", "NoRight", "Unavailable")
"""Those that all have."""
