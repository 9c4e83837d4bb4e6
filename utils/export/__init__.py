"""Networks as files for other programs: ONNX graphs and safetensors, which say what they are.

python -m utils.export best.pth --out net.onnx
"""
