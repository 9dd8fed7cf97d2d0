"""Identity: who is behind a token. Entities, their aliases at auth mounts, and the groups they belong to.

A login finds or makes its entity in the entry that makes its token; policies of the entity and of its groups apply on
every request (API documentation, "Identity secrets engine"; concepts, "Identity").
"""
