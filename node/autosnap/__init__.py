"""Snapshots that the active node takes by itself, on a schedule that the store keeps (API: snapshot-auto)."""
