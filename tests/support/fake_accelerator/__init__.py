"""An accelerator that is not there, for tests of where tensors lie: `acc`, a device of PyTorch's own Python backend."""
