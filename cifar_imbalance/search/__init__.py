"""`python -m cifar_imbalance.search`: settings that are best on validation images, by one objective or several."""
