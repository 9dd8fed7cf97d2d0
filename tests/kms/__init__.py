"""Key management services for tests: moto for AWS, stand-ins of our own for the REST of Google and of Azure."""
