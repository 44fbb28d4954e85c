"""FaultReports: bugs met while serving, told without letting a client fill the log with one of them."""

from collections.abc import Callable
from dataclasses import dataclass

WHAT_CHARS_MAX = 200
"""A request's target can be as long as a header may be; this much of it is enough to find the request."""


@dataclass(slots=True)
class Known:
    """One kind of fault: when it was last told (seconds), and how often it came since."""

    told: float
    untold: int = 0


class FaultReports:
    """Passes faults on to `report`, the same kind at most once in `interval` seconds.

    Two faults are the same when their exceptions have one type and come from one line of code, so the kinds
    kept are as few as the places that can fail.
    """

    def __init__(self, report: Callable[[str, Exception], None], interval: float = 60.0) -> None:
        self._report = report
        self._interval = interval
        self._known: dict[tuple[type[Exception], str, int], Known] = {}

    def tell(self, what: str, error: Exception, now: float) -> None:
        """`what` names the request; what was kept back is added to it as a number. `now` is in seconds."""
        kind = (type(error), *_origin(error))
        known = self._known.get(kind)
        if known is not None and now - known.told < self._interval:
            known.untold += 1
            return
        shown = what if len(what) <= WHAT_CHARS_MAX else f"{what[:WHAT_CHARS_MAX]}..."
        more = f" (and {known.untold} like it before)" if known is not None and known.untold else ""
        self._known[kind] = Known(now)
        self._report(shown + more, error)


def _origin(error: Exception) -> tuple[str, int]:
    """File and line that raised it."""
    trace = error.__traceback__
    if trace is None:
        return "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
