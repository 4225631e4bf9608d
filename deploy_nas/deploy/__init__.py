"""Room: a subnet to a checked ONNX file. ``deploy.export.export_onnx`` is its door."""
