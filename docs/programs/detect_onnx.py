"""Detect with ONNX Runtime and OpenCV alone: python detect_onnx.py xs.onnx photo.png."""

import json
import sys

import cv2
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
image = cv2.imread(sys.argv[2], cv2.IMREAD_COLOR_RGB)
boxes, scores, labels = session.run(None, {"image": image})
for box, score, label in zip(boxes, scores, labels, strict=True):
    if score >= 0.4:
        print(classes[label], f"{score:.3f}", *(f"{side:.1f}" for side in box))
