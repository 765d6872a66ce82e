"""Full-size configs of the zoo, and keys that make models of them tiny."""

from effowt_d2 import model_zoo

TINY = """
MODEL.VLM.NAME ShapesCLIP-S-16 MODEL.VLM.WEIGHTS effowt://ShapesCLIP-S-16 MODEL.SIDE.BLOCKS [1,1,1]
MODEL.TRANSFER.OUT_CHANNELS 32 MODEL.RPN.CONV_DIMS [-1] MODEL.SIDE.MAX_FRACTION 0.0
MODEL.ROI_BOX_HEAD.NUM_CONV 1 MODEL.ROI_BOX_HEAD.CONV_DIM 32 MODEL.ROI_BOX_HEAD.FC_DIM 32
MODEL.REID.NUM_CONV 1 MODEL.REID.CONV_DIM 32 MODEL.REID.FC_DIM 32 MODEL.REID.DIM 16
""".split()


def zoo_file(name: str = "vit_b16") -> str:
    """Path of the config of a tower."""
    return model_zoo.get_config_file(f"EffOWT/effowt_{name}.yaml")
