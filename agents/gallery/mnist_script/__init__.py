"""PyTorch's MNIST example on digits of 8×8 pixels: what the default policy does to it, run by run."""
