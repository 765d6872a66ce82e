"""The datasets this plugin registers with Detectron2."""
