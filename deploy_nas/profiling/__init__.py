"""Room: a device and a space in, a latency table out. Plan, time, fit, validate."""
