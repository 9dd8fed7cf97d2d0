"""The command line: parses flags, talks to a node over HTTP and prints what it answers.

It must start fast (`version` in 150 ms, `kv get` in 300 ms), so a module is imported when its command runs, the HTTP
client is the standard library's, and nothing here imports the server except `server` itself.
It never prints a token, a request body or a traceback that was not asked for.
"""
