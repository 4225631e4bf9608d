"""Floor 1: the code that runs on the measured device. Standard library, numpy and one runtime only."""

import os

# Since version 1.32, ONNX Runtime keeps a database of what it runs and sends it to its makers, on threads of
# the process that measures. It reads this when it is imported; whoever wants its telemetry sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
