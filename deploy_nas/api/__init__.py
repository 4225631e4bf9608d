"""The public functions: a command each, with arguments as people have them in Python, and typed results."""
