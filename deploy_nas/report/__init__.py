"""Room: results in, one self-contained HTML page out."""
