#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# onnxruntime's quantiser forgets calibration samples where CalibMaxIntermediateOutputs bounds its
# memory. The option is documented as how many samples' tensors are held before a range is computed
# of them; they are dropped without one. So of 10 samples and a bound of 4 the range is that of the
# last two; where the bound divides their number it ends with "No data is collected.".
#
# The network is y = x * 2 behind an Add, the samples are k and -k for k from 10 down to 1, so the
# range of all is 20 wide, and that of the last two 4. quantize_static, default MinMax.
#
# Versions: onnxruntime 1.31.1, onnx 1.23.2, Python 3.11.
# Output seen:
#   no bound    -10.0 to 10.0
#   bound 4     -2.0 to 2.0
#   bound 5     ValueError: No data is collected.
#   stride 1    -10.0 to 10.0
#
# Consequence: CalibStridedMinMax bounds the memory and forgets nothing; splitc quantize uses it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install onnxruntime==1.31.1 onnx==1.23.2
cat > "$folder/show.py" <<'PY'
import logging
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime import quantization

logging.disable(logging.WARNING)
one = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
x, y = (helper.make_tensor_value_info(name, 1, [1, 2]) for name in "xy")
graph = helper.make_graph([helper.make_node("Add", ["x", "zero"], ["y"], "add")], "g", [x], [y],
                          [one])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
          sys.argv[1])
samples = [{"x": np.array([[k, -k]], np.float32)} for k in range(10, 0, -1)]


class Reader(quantization.CalibrationDataReader):
    def __init__(self):
        self.now = iter(samples)

    def __len__(self):
        return len(samples)

    def set_range(self, start_index, end_index):
        self.now = iter(samples[start_index:end_index])

    def get_next(self):
        return next(self.now, None)


def seen(options):
    try:
        quantization.quantize_static(sys.argv[1], sys.argv[1] + ".q", Reader(),
                                     extra_options=options)
    except ValueError as error:
        return f"ValueError: {error}"
    made = onnx.load(sys.argv[1] + ".q")
    kept = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    step, zero = float(kept["x_scale"]), int(kept["x_zero_point"])
    return f"{(-128 - zero) * step:.1f} to {(127 - zero) * step:.1f}"


print("no bound   ", seen({}))
print("bound 4    ", seen({"CalibMaxIntermediateOutputs": 4}))
print("bound 5    ", seen({"CalibMaxIntermediateOutputs": 5}))
print("stride 1   ", seen({"CalibStridedMinMax": 1}))
PY
"$folder/venv/bin/python" "$folder/show.py" "$folder/net.onnx" | tee "$folder/seen"
cat > "$folder/expected" <<'TXT'
no bound    -10.0 to 10.0
bound 4     -2.0 to 2.0
bound 5     ValueError: No data is collected.
stride 1    -10.0 to 10.0
TXT
diff "$folder/seen" "$folder/expected"
