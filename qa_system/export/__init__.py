"""Checkpoints as ONNX models: `qa export`."""
