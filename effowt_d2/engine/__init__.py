"""Training and inference loops on top of the model."""
