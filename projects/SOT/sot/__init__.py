"""Single-object tracking: what trackers of one given object share."""
