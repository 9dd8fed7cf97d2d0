"""Telemetry: the node's meters by their documented names, and how they are shown: sys/metrics, statsd, SIGUSR1."""
