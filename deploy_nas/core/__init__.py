"""Floor 0: pure values. Only numpy and the standard library are imported here."""
