"""Secrets engines and auth methods, one folder each, the same file names inside."""
