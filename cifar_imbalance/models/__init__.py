"""Networks: any timm model, with weights initialised by key or loaded from a file or the hub."""
