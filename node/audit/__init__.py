"""Audit: a record of every request before it is worked on and of every answer before it is given.

Public API described in the Vault documentation, "Audit devices" and "/sys/audit". Secrets leave this package only as
HMACs, except on a device that was enabled with `log_raw`. The pipeline uses `trail.Trail`, the node owns one `Broker`.
"""
