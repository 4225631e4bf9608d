"""Floor 2: one outside package each."""
