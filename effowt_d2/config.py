"""Every configuration key of the plugin, with one line of meaning.

The symbols in brackets are those of the EffOWT paper (arXiv 2504.05141) and of docs/methods/effowt.md.
"""

from detectron2.config import CfgNode as CN

__all__ = ["add_effowt_config"]


def add_effowt_config(cfg: CN) -> None:
    """Add the keys of effowt_d2 to a Detectron2 config, in place.

    Args:
        cfg: the node that ``detectron2.config.get_cfg()`` returned.
    """
    # modules to import before the config is used, such as ("lorat",); their add_config(cfg), if any, adds their keys
    cfg.IMPORTS = ()
    _add_tower(cfg)
    _add_peft(cfg)
    _add_tokens(cfg)
    _add_side(cfg)
    _add_heads(cfg)
    _add_tracker(cfg)
    _add_naming(cfg)
    _add_description(cfg)
    _add_data(cfg)
    _add_solver(cfg)
    _add_test(cfg)


def _add_tower(cfg: CN) -> None:
    cfg.MODEL.VLM = CN()
    # open_clip model name of the vision-language tower, a model config shipped with this package, or "timm://NAME"
    # (a ViT of timm, such as DINOv2's)
    cfg.MODEL.VLM.NAME = "ViT-B-16"
    # "openclip://TAG" (open_clip's pretrained tag), "effowt://FILE" (shipped with this package), or a file of a CLIP
    # model, of an EVA detector or of a ViT of DINOv2 or timm
    cfg.MODEL.VLM.WEIGHTS = ""
    # True: an empty WEIGHTS means random weights; otherwise it is an error
    cfg.MODEL.VLM.ALLOW_RANDOM = False
    # side length, in tokens, of the canvas the position table is resized to once; 0: the pre-training grid
    cfg.MODEL.VLM.CANVAS = 64
    # window side, in tokens, of the tower's attention; 0: global, as pre-trained
    cfg.MODEL.VLM.WINDOW = 0
    # with WINDOW: numbers of the blocks with global attention; []: every fourth, the last included
    cfg.MODEL.VLM.GLOBAL_BLOCKS = []
    # dtype of a frozen tower's weights and computation: float32 | bfloat16 | float16
    cfg.MODEL.VLM.PRECISION = "float32"
    # backend of torch.compile for the tower's blocks, such as "inductor"; "": not compiled
    cfg.MODEL.VLM.COMPILE = ""
    # pixels per token: 16, or the tower's patch size (images are not scaled then); a pyramid needs 16
    cfg.MODEL.VLM.STRIDE = 16
    # stochastic depth of a trained tower: probability that half of a block is dropped for an image
    cfg.MODEL.VLM.DROP_PATH = 0.0
    # True: ignore the relative positions of an EVA detection checkpoint, which changes its features
    cfg.MODEL.VLM.DROP_RELATIVE_POSITIONS = False

    # True: load pickles with more than tensors and plain values; such a file can run any code
    cfg.MODEL.UNSAFE_PICKLE = False
    # True: load the matching tensors of MODEL.WEIGHTS and list the others
    cfg.MODEL.PARTIAL = False

    cfg.MODEL.TRANSFER = CN()
    # preset of PEFT.METHOD and NECK: zero_shot (none, pyramid) | full (full, pyramid) | side (none, side)
    cfg.MODEL.TRANSFER.STRATEGY = "side"
    # source of the pyramid: pyramid (last block) | side (side network); "": set by STRATEGY
    cfg.MODEL.TRANSFER.NECK = ""
    # channels of every pyramid level
    cfg.MODEL.TRANSFER.OUT_CHANNELS = 256
    # output levels of the backbone, at strides 4 to 128; layers used by other levels only are not built
    cfg.MODEL.TRANSFER.LEVELS = ["p2", "p3", "p4", "p5", "p6", "p7"]


def _add_tokens(cfg: CN) -> None:
    cfg.MODEL.TOKENS = CN()
    tokens = cfg.MODEL.TOKENS
    # token reduction: none | sparse (keep the most attended tokens) | merge (merge similar windows)
    tokens.REDUCTION = "none"
    # blocks that remove tokens between attention and MLP, ascending; []: three that divide the depth by four. In a tower
    # with windows, blocks with global attention
    tokens.BLOCKS = []
    # keep rate of these blocks [r], in (0, 1]; one for all or one per block
    tokens.KEEP_RATES = [0.7]
    # side, in tokens, of the windows that each keep that fraction; 0: the tower's windows, or the whole map
    tokens.WINDOW = 0
    # sparse: query of the attention score: class | mean (of all tokens) | learned (either, plus a trained offset) | auto
    # (class if the tower has a class token, else mean)
    tokens.SCORE = "auto"
    # sparse: True: fuse the removed tokens into one; False: discard them
    tokens.FUSE = True
    # sparse: value of a cell without a token, beside a trained gate that starts at 0: hold (its last value; required with
    # FUSE False) | follow (plus the change of its fused token since)
    tokens.REBUILD = "follow"
    # merge: side, in tokens, of the merged windows
    tokens.MERGE_WINDOW = 2
    # merge: least mean cosine similarity of a merged window [tau]; -1: no limit
    tokens.MERGE_THRESHOLD = -1.0


def _add_peft(cfg: CN) -> None:
    cfg.MODEL.PEFT = CN()
    peft = cfg.MODEL.PEFT
    # what trains inside the tower: none | full | lora | tmoe | dense_adapter; "": set by MODEL.TRANSFER.STRATEGY
    peft.METHOD = ""
    # lora, tmoe: rank [r], and scale [alpha], which is divided by "rank" or "sqrt_rank"
    peft.RANK = 64
    peft.ALPHA = 64.0
    peft.SCALE_RULE = "rank"
    # dropout on the input of an update
    peft.DROPOUT = 0.0
    # initial updates: normal (not zero), or kaiming | gaussian with a zero second matrix
    peft.INIT = "normal"
    # adapted layers of each block: q, k, v, proj of the attention; fc1, fc2 and, if it is gated, gate of the MLP
    peft.SITES = ["q", "k", "v", "proj", "fc1", "fc2", "gate"]

    peft.TMOE = CN()
    # experts of each layer [N]
    peft.TMOE.NUM_EXPERTS = 4
    # True: a separate first matrix per expert
    peft.TMOE.ROUTE_COMPRESSION = False
    # True: an additional expert without a gate
    peft.TMOE.UNGATED_EXPERT = False

    peft.ADAPTER = CN()
    # dense_adapter: links between blocks as in the "paper" or as "released"
    peft.ADAPTER.VARIANT = "paper"
    # width of the bottlenecks [b]
    peft.ADAPTER.DIM = 32
    # scale of their outputs
    peft.ADAPTER.SCALE = 1.0


def _add_side(cfg: CN) -> None:
    # projects may register further values of TOPOLOGY, INIT, KIND and SIM.FUSION
    cfg.MODEL.SIDE = CN()
    side = cfg.MODEL.SIDE
    # width divisor [r]: the side network is s = d / r wide
    side.REDUCTION = 4
    # topology of the stages: sequential (one ladder through strides 4, 8, 16)
    side.TOPOLOGY = "sequential"
    # blocks per stage at strides 4, 8, 16
    side.BLOCKS = [3, 2, 1]
    # hidden expansion [rho] of the dense MLP per stage, used where SIM is not placed
    side.MLP_RATIO = [4, 2, 1]
    # tower blocks feeding the side blocks, in side order; [] spreads them evenly, ending at the last block
    side.TAPS = []
    # one down-projection per "tap", per "stage", or one for "all"
    side.TAP_SHARING = "stage"
    # window side, in tokens, of the attention per stage; 0: global
    side.WINDOWS = [16, 16, 0]
    # initialisation: scratch | l1 (pruned from the tower by weight magnitude)
    side.INIT = "scratch"
    # initial down-projection: "xavier", or "select" (identity rows at the kept residual channels)
    side.TAP_INIT = "xavier"
    # activation checkpointing of the side blocks, per stage
    side.CHECKPOINT = [False, False, False]
    # maximum of side parameters as a fraction of the tower's; 0: no limit
    side.MAX_FRACTION = 0.0

    side.GATE = CN()
    # learnable: one scalar per block
    side.GATE.KIND = "learnable"
    # sigmoid temperature [T]
    side.GATE.TEMPERATURE = 0.1
    # the gate's value [g] at start: weight of the tower, 1 - g of the side state
    side.GATE.VALUE = 0.5

    side.SIM = CN()
    # strides whose blocks mix sparsely (SIM) instead of by a dense MLP
    side.SIM.SCALES = [4]
    # mixer: axes (means along lines, with a weight per offset)
    side.SIM.KIND = "axes"
    # lines of a token: row, column, diagonal, antidiagonal
    side.SIM.AXES = ["row", "column", "diagonal", "antidiagonal"]
    # offsets with their own weight [R]; larger ones use the last
    side.SIM.RANGE = 128
    # channel groups [G]; one table of weights each
    side.SIM.GROUPS = 8
    # fusion of the mixes: sum (scaled per channel)
    side.SIM.FUSION = "sum"

    side.FUSION = CN()
    # fusion of the stages into levels: weighted (trained weights)
    side.FUSION.KIND = "weighted"
    # depthwise 3x3 + 1x1 + LayerNorm after the mix
    side.FUSION.OUTPUT_CONV = True


def _add_heads(cfg: CN) -> None:
    # detection score: cls | objectness | geo (geometric mean of both) | quality (that of cls and the predicted IoU of
    # the box, trained on labelled objects)
    cfg.MODEL.ROI_HEADS.SCORE = "cls"

    cfg.MODEL.REID = CN()
    reid = cfg.MODEL.REID
    # channels of the embedding
    reid.DIM = 256
    # 3x3 convolutions before the fully connected layer, and their channels
    reid.NUM_CONV = 4
    reid.CONV_DIM = 256
    # groups of the GroupNorm after each convolution; they divide CONV_DIM
    reid.NUM_GROUPS = 32
    # channels of the fully connected layer
    reid.FC_DIM = 1024
    # side, in cells, of a pooled RoI; pooler: MODEL.ROI_BOX_HEAD.POOLER_TYPE and POOLER_SAMPLING_RATIO
    reid.POOLER_RESOLUTION = 7
    # RoIs per view, the fraction of positives, and negatives per positive, all at most
    reid.BATCH_SIZE_PER_IMAGE = 256
    reid.POSITIVE_FRACTION = 0.5
    reid.NEGATIVES_PER_POSITIVE = 3.0
    # a RoI is positive from POSITIVE_IOU, negative below NEGATIVE_IOU
    reid.POSITIVE_IOU = 0.7
    reid.NEGATIVE_IOU = 0.3
    # contrastive loss: "multi_positive" (QDTrack) or "unbiased" (OVTrack), and its weight
    reid.LOSS = "multi_positive"
    reid.LOSS_WEIGHT = 0.25
    # auxiliary loss on cosines: weight, cosine up to which negatives are free, hardest negatives per positive
    reid.AUX_WEIGHT = 1.0
    reid.AUX_MARGIN = 0.1
    reid.AUX_NEGATIVES_PER_POSITIVE = 3.0


def _add_tracker(cfg: CN) -> None:
    cfg.TRACKER = CN()
    tracker = cfg.TRACKER
    # preset of all settings: tao | qdtrack | simowt | owtb; "": every key below is required
    tracker.PRESET = "tao"
    # None: the preset's value
    # an unmatched detection starts a track above INIT_SCORE; at or below KEEP_SCORE it is dropped
    tracker.INIT_SCORE = None
    tracker.KEEP_SCORE = None
    # a detection continues a track above this similarity
    tracker.MATCH_SCORE = None
    # frames (of the processed sequence) a track is remembered unseen
    tracker.MEMORY_FRAMES = None
    # the same in seconds, replaces MEMORY_FRAMES; needs a known frame rate
    tracker.MEMORY_SECONDS = None
    # weight of the new embedding in a track's embedding
    tracker.MOMENTUM = None
    # past embeddings of a track that are matched, time-weighted; 1: the newest only
    tracker.HISTORY = None
    # frames that unassigned detections compete with the tracks; 0: never
    tracker.BACKDROP_FRAMES = None
    # detections below DISTRACTOR_SCORE overlapping a better one by more than DISTRACTOR_IOU are dropped; 1: none
    tracker.DISTRACTOR_SCORE = None
    tracker.DISTRACTOR_IOU = None
    # detections of any score overlapping a better one by more are dropped; 1: none
    tracker.MAX_OVERLAP = None
    # bisoftmax_cosine (their mean) | bisoftmax | cosine
    tracker.APPEARANCE = None
    # pairs with a cosine at or below this never match; -1: off
    tracker.COSINE_FLOOR = None
    # greedy (in score order) | hungarian
    tracker.ASSIGNMENT = None
    # weight of the box IoU in the similarity, in [0, 1]
    tracker.IOU_WEIGHT = None
    # motion model for the box IoU: none | constant_velocity; needs IOU_WEIGHT > 0
    tracker.MOTION = None


def _add_naming(cfg: CN) -> None:
    cfg.NAMING = CN()
    # prompts around a word, one {} each; their embeddings are averaged
    cfg.NAMING.TEMPLATES = ["a photo of a {}."]
    # a crop's side is the longer side of the box times 1 + CONTEXT
    cfg.NAMING.CONTEXT = 0.25
    # maximum magnification of a crop; larger crops are taken instead; 0: no limit
    cfg.NAMING.MAX_ZOOM = 0.0
    # pixels around the box in a crop: keep | blur
    cfg.NAMING.BACKGROUND = "keep"
    # maximum number of views that a track's name is pooled over
    cfg.NAMING.VIEWS = 4
    # maximum number of embedded crops per frame
    cfg.NAMING.BUDGET = 8
    # least probability of a name; 0: every track has one
    cfg.NAMING.MIN_SCORE = 0.0
    # background words such as "sky": a track that matches one best has no name
    cfg.NAMING.BACKGROUND_WORDS = []


def _add_description(cfg: CN) -> None:
    cfg.DESCRIBE = CN()
    # what the model of --describe is asked about a view of a track
    cfg.DESCRIBE.PROMPT = "Describe the object in the middle of this image in one short sentence."
    # tokens of an answer, at most
    cfg.DESCRIBE.MAX_TOKENS = 40
    # views of a track that are described: its best ones, 4 at most
    cfg.DESCRIBE.VIEWS = 1
    # which vision tokens are dropped: none | mustdrop-192 | -128 | -64 | -64-vizwiz (the settings of projects/MustDrop)
    cfg.DESCRIBE.DROP = "none"


def _add_data(cfg: CN) -> None:
    cfg.DATA = CN()
    # training loader, registered in effowt_d2.data.LOADERS
    cfg.DATA.LOADER = "images"
    # mapper of LOADER "images", registered in effowt_d2.data.MAPPERS
    cfg.DATA.MAPPER = "two_views"
    # video frames: the reference view is of a frame at most so many frames away; 0: of the same frame
    cfg.DATA.REFERENCE_GAP = 0
    # custom datasets: lists of name, annotation file, image folder and, optionally, format
    cfg.DATA.REGISTER = []
    # the known classes, names or category ids: trained on, and scored as known; []: those of the datasets' files
    cfg.DATA.CLASSES = []
    # classes, names or ids, too close to the known ones to be scored as unknown; needs CLASSES
    cfg.DATA.DISTRACTORS = []
    # training datasets with unlabelled objects: regions without labels are not used as background
    cfg.DATA.INCOMPLETE = []
    # True: skip missing images, and videos that lack a frame, instead of raising an error
    cfg.DATA.SKIP_MISSING = False
    # text file of video or image names, one a line, that no training dataset may contain; "": none
    cfg.DATA.EXCLUSION_LIST = ""
    # scale of a training view: "shortest_edge" (INPUT.MIN_SIZE_TRAIN, MAX_SIZE_TRAIN) or "lsj" (large jitter)
    cfg.DATA.SCALING = "shortest_edge"
    # "lsj": side of the square crop, and range of the scale
    cfg.DATA.LSJ_SIZE = 1024
    cfg.DATA.LSJ_SCALE = [0.1, 2.0]
    # jitter of brightness, contrast and saturation by a factor in 1 - x .. 1 + x; 0: off
    cfg.DATA.COLOR_JITTER = 0.0
    # boxes with a shorter side, in pixels of the cropped view, are dropped
    cfg.DATA.MIN_BOX_SIDE = 2.0


def _add_solver(cfg: CN) -> None:
    # adamw | sgd
    cfg.SOLVER.OPTIMIZER = "adamw"
    # gradient accumulation: batches of IMS_PER_BATCH images per step
    cfg.SOLVER.ACCUMULATE = 1
    # learning rates as multiples of BASE_LR (heads and neck): of the side network, of a trained tower, of the adapters of
    # MODEL.PEFT
    cfg.SOLVER.SIDE_LR_FACTOR = 1.0
    cfg.SOLVER.TOWER_LR_FACTOR = 1.0
    cfg.SOLVER.PEFT_LR_FACTOR = 1.0
    # layer-wise learning rate decay of a trained tower
    cfg.SOLVER.TOWER_LAYER_DECAY = 1.0
    # autocast dtype under SOLVER.AMP.ENABLED: bfloat16 | float16 (with loss scaling)
    cfg.SOLVER.AMP.DTYPE = "bfloat16"

    cfg.SOLVER.EMA = CN()
    # decay of the moving average of the trained parameters, which is evaluated and saved as the model; 0: off
    cfg.SOLVER.EMA.DECAY = 0.0


def _add_test(cfg: CN) -> None:
    # consecutive frames of a video per forward pass
    cfg.TEST.FRAMES_PER_BATCH = 1
    # autocast dtype of evaluation and video inference: float32 | bfloat16 | float16
    cfg.TEST.PRECISION = "float32"
    # least score of the boxes that effowt-track and VideoTracker return; evaluation uses all boxes
    cfg.TEST.SHOWN_SCORE = 0.3

    cfg.TEST.TAO_OW = CN()
    # results kept per image, highest scores first; 0: all
    cfg.TEST.TAO_OW.MAX_DETECTIONS = 300
    # subsets to report: all | known | unknown | distractor
    cfg.TEST.TAO_OW.SUBSETS = ["all", "known", "unknown"]
    # processes for the evaluation; 0: one per core
    cfg.TEST.TAO_OW.WORKERS = 0
