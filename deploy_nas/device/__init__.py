"""Floor 1: what runs on the device that is measured. Standard library, numpy and onnxruntime only."""
