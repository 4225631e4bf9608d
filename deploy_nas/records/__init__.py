"""Floor 1: the files. Versioned, typed, read with the path of what is wrong, written atomically."""
