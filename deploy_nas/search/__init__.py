"""Room: a latency table and an accuracy predictor in, architectures out. Knows no framework."""
