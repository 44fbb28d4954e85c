"""Report: what a run of a scenario was, as pages for people, JSON for machines, and JUnit XML for CI.

`write` puts the files into a folder, `describe` is the JSON, `junit` the XML. A page is made from a `Picture` of its
run: `measures` are latencies and rates, `views` the matrix over time, `lanes` the timeline, `excerpt` what was told
around a violation; `charts` draws by matplotlib, `page` puts all of it into the templates by Jinja. Those two
libraries come with the extra `lab`, and are loaded only when pages are made.
"""

from moot.agent.report.write import ReportPaths, RunLogs, require_libraries, write_report

__all__ = ["ReportPaths", "RunLogs", "require_libraries", "write_report"]
