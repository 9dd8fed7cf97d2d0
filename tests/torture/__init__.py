"""Three real nodes, concurrent clients, a script of faults, and checkers of what the clients saw (docs/reliability.md)."""
