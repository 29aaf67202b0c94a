"""Detect with OpenVINO and OpenCV alone: python detect_openvino.py xs.xml photo.png."""

import json
import sys

import cv2
import openvino

core = openvino.Core()
model = core.read_model(sys.argv[1])
classes = json.loads(str(model.get_rt_info(["lcnet_vision", "classes"]).value))
# Without the hint OpenVINO computes in bfloat16 where the processor has it.
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
image = cv2.imread(sys.argv[2], cv2.IMREAD_COLOR_RGB)
boxes, scores, labels = compiled(image).values()
for box, score, label in zip(boxes, scores, labels, strict=True):
    if score >= 0.4:
        print(classes[label], f"{score:.3f}", *(f"{side:.1f}" for side in box))
