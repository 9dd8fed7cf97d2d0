"""The operator's and the application's walkthrough, step by step, against real processes."""
