"""Networks as files for other programs: ONNX graphs and safetensors, with what the net says of itself.

    python -m utils.export best.pth --out net.onnx
"""
