"""How the bundled model `mini` is made. Not part of the package; see README.md here."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reports its use unless told not to
