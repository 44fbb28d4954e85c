"""Figures sent to statsd, statsite and DogStatsD, as go-metrics does it for Nomad's agents.

`lines` makes the text, pure; `receivers` carries it to one receiver; `exporter` looks at the figures and hands
them on.
"""
