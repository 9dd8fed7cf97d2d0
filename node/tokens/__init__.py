"""Tokens: what names a caller, its rights and its end. Follows the API's auth/token section and "Tokens" concepts.

A token is stored only under its salted HMAC; the token itself is known to its holder and, for moments, to memory.
"""
