"""Leases: what was issued for a time, and the one expiration manager that ends it, tokens included.

Nothing is held in memory: what is due is found in the time-ordered index (`timeline.py`), so that a million leases cost
a node that starts nothing. Follows the API's sys/leases section.
"""
