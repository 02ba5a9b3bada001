"""`python -m cifar_imbalance.track`: a finished run, replayed into a tracker."""
