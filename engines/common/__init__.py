"""What all engines share: the frame that declares their paths, plans, errors, durations, cryptography."""
