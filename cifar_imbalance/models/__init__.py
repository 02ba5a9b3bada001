"""Networks: any model of timm, its weights from a key, a file or the hub."""
