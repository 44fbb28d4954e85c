"""Clients of Nomad's API that others made, unchanged, against real agents."""
