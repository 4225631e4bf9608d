"""Room: images in, the weights of an elastic supernet out."""
