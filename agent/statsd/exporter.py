"""Exporter: looks at the agent's figures and sends them to the receivers that the configuration names."""

import socket
from collections.abc import Callable, Iterator, Mapping

import trio

from moot.agent.logs import Log
from moot.agent.settings import Telemetry
from moot.agent.statsd.lines import Samples, Style
from moot.agent.statsd.receivers import Batch, Receiver, TcpReceiver, UdpReceiver
from moot.http.metrics import Key, Metrics, gauges


class Exporter:
    """Use: `run` in a nursery; `replace` changes what it does. Without a receiver it sleeps and costs nothing.

    `members` counts members by status. `node_name` is the agent's.
    """

    def __init__(
        self,
        metrics: Metrics,
        members: Callable[[], Mapping[str, int]],
        log: Log,
        *,
        settings: Telemetry,
        node_name: str,
    ) -> None:
        self._metrics = metrics
        self._members = members
        self._log = log
        self._settings = settings
        self._node_name = node_name
        self._totals: dict[Key, int] = {}
        """Totals as they were when they were last sent."""
        self._scope = trio.CancelScope()

    def replace(self, settings: Telemetry) -> None:
        """Go on with other settings; nothing happens when they are the same."""
        if settings != self._settings:
            self._settings = settings
            self._scope.cancel()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with trio.CancelScope() as self._scope:
                if any(_addresses(self._settings)):
                    await self._export(self._settings)
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()  # the scope's cancellation does not end us

    async def _export(self, settings: Telemetry) -> None:
        samples = Samples()
        self._metrics.listeners.append(samples.add)
        try:
            async with trio.open_nursery() as nursery:
                receivers = self._receivers(settings)
                for receiver, _ in receivers:
                    nursery.start_soon(receiver.run)
                while True:
                    await trio.sleep(settings.collection_interval)
                    self._hand_on(receivers, samples)
        finally:
            self._metrics.listeners.remove(samples.add)

    def _receivers(self, settings: Telemetry) -> list[tuple[Receiver, Style]]:
        plain = Style(host=self._host(settings))
        statsd, statsite, datadog = _addresses(settings)
        found: list[tuple[Receiver, Style]] = []
        if statsd:
            found.append((UdpReceiver("statsd", statsd, self._log), plain))
        if statsite:
            found.append((TcpReceiver("statsite", statsite, self._log), plain))
        if datadog:
            found.append((UdpReceiver("DogStatsD", datadog, self._log), Style(tags=True)))
        return found

    def _host(self, settings: Telemetry) -> str:
        """What gauges are marked with: Nomad lets the node's name win over `disable_hostname`."""
        if settings.use_node_name:
            return self._node_name
        return "" if settings.disable_hostname else socket.gethostname()

    def _hand_on(self, receivers: list[tuple[Receiver, Style]], samples: Samples) -> None:
        figures = self._metrics.figures()
        counted = []
        for row, labels, total in self._metrics.totals(figures):
            key = (row.nomad, labels)
            added = total - self._totals.get(key, 0)
            if added:
                self._totals[key] = total
                counted.append((key, added))
        shown = [((it.name, tuple(it.labels.items())), it.value) for it in gauges(figures, self._members())]
        taken = list(samples.take())

        def lines(style: Style) -> Iterator[str]:
            yield from (style.counter(key, added) for key, added in counted)
            yield from (style.gauge(key, value) for key, value in shown)
            for key, values, rate in taken:
                yield from style.samples(key, values, rate)

        batches: dict[Style, Batch] = {}
        for receiver, style in receivers:
            if style not in batches:
                batches[style] = list(lines(style))
            receiver.offer(batches[style])


def _addresses(settings: Telemetry) -> tuple[str, str, str]:
    return settings.statsd_address, settings.statsite_address, settings.datadog_address
