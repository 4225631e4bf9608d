"""Families of spaces: OFA's supernets as genes and slots."""
