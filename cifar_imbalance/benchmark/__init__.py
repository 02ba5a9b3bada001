"""Training throughput compared with PyTorch, Keras and XLA: `python -m cifar_imbalance.benchmark`."""
