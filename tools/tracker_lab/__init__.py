"""Detections kept on disk, and what can be learnt of a tracker from them without the network."""
