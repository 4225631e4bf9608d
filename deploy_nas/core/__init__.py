"""Floor 0: pure values; imports only numpy and the standard library."""
