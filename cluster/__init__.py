"""The replicated store: Raft, journal, LMDB, peers, snapshots, request forwarding.

It only ever sees sealed bytes: it never knows what a secret, a token or a policy is.
"""
