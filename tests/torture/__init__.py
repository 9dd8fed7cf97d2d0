"""Three real nodes, clients, a script of faults, and checks of what the clients saw: docs/reliability.md."""
