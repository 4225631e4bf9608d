"""Many devices at once: which job is next, and who does it."""
