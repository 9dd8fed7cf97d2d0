"""What two or more engines need; it knows no engine and no part of the node."""
