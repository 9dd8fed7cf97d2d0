"""Key ceremonies on a node in this process."""
