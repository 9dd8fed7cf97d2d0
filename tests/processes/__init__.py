"""Tests against real server processes on loopback."""
