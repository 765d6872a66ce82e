"""What only the tools of ShapesOW use: baselines, captions, zero-shot accuracy."""
