"""Token reduction: a tower that runs on fewer tokens, and a dense map of them for the neck."""
