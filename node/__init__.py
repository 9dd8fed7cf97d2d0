"""One server process: everything from the socket to the barrier, and the wiring."""
