"""The system engine, mounted at sys/: the node's own API, declared in the same frame as every other engine."""
