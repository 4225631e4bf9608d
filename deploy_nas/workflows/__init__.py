"""Floor 4: the tool's jobs, each composing rooms: profile, search, export, verify, quickstart, doctor."""
