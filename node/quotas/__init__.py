"""Rate limits: how many requests a client address may send to this node, everywhere or below a path.

They are decided from the path and the address alone, before the body is read (CVE-2025-12044); only a limit on a login
role has to look into the body, and does so after every limit that needs none. API documentation: "/sys/quotas".
"""
