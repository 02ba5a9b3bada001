"""`python -m cifar_imbalance.predict`: the classes of images without labels."""
