"""`python -m cifar_imbalance.export`: a trained model in the formats of other libraries."""
