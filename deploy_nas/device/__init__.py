"""Floor 1: the code that runs on the measured device. Standard library, numpy and onnxruntime only."""
