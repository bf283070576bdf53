"""Take a policy out of Python: ONNX, TorchScript, C, and a controller for the Crazyflie's firmware."""
