"""Golden numbers of LoRAT and SPMTrack through our tower: tokens, halves of blocks, blocks, gradients, variants."""

import torch
from helpers.golden import below, golden
from helpers.tiny_timm import golden_file, load_updates, lorat_tower, spmtrack_tower
from timm.models.vision_transformer import Block

from effowt_d2.modeling.layers.drop_path import add_on_rows
from effowt_d2.modeling.peft import LoRAMethod, merge
from effowt_d2.modeling.tower import BlockHook, Tokens, build_tower

CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def close(found, expected):
    torch.testing.assert_close(found, expected, **CLOSE)


def lorat_tokens(tower, tensors, types):
    """Template and search tokens as the release joins them, the search grid last."""
    z, x = tower.embed(tensors["in.z"]), tower.embed(tensors["in.x"])
    of_template = z.patches + types[tensors["in.mask"].flatten(1)]
    of_search = x.patches + types[2]
    joined = torch.cat([of_template, of_search], dim=1)
    return of_template, of_search, Tokens(joined, of_template.shape[1], x.grid)


def test_lorat_tokens_halves_blocks_and_norm():
    tower, tensors, types = lorat_tower(), golden("lorat/model"), golden("lorat/trained")["token_type_embed"]
    assert torch.equal(tower.vit.pos_embed, golden("lorat/trunk")["pos_embed"])
    close(tower._canvas_positions(types.device).flatten(1).T, tensors["pos_embed"][0])
    of_template, of_search, tokens = lorat_tokens(tower, tensors, types)
    close(of_template, tensors["train.z_tokens"])
    close(of_search, tensors["train.x_tokens"])
    block, adapters = tower.blocks[0], tower.adapters_of(0)
    attended = tower.attend(block, tokens.x, adapters=adapters)[0]
    close(attended, block.ls1(tensors["train.block0.attn"]))
    close(tower.feed(block, tokens.x + attended, adapters=adapters), block.ls2(tensors["train.block0.mlp"]))
    seen = []

    class Watch(BlockHook):
        def after_attention(self, number, tokens, q, k):
            seen.append(tokens.x)

    last, taps = tower.run(tokens, [0, 1], [Watch()])
    search = tokens.prefix
    close(taps[0].flatten(2).transpose(1, 2), tensors["train.block0"][:, search:])
    close(last.x, tensors["train.block1"])
    close(tower.final_norm(last.x), tensors["train.norm"])
    close(seen[0], tokens.x + attended)


def test_lorat_merged():
    tower, tensors, merged = lorat_tower().eval(), golden("lorat/model"), golden("lorat/merged")
    merge(tower)
    state = tower.trunk.state_dict()
    for name, weight in merged.items():
        close(state[name], weight)
    _, _, tokens = lorat_tokens(tower, tensors, golden("lorat/trained")["token_type_embed"])
    close(tower.final_norm(tower.run(tokens)[0].x), tensors["train.norm"])


def test_lorat_swiglu_and_rank_stabilised_scale(tmp_path):
    tensors = golden("lorat/variants")
    torch.save(below(tensors, "trunk."), tmp_path / "trunk.pth")
    tower = build_tower("timm://tiny_dinov2_swiglu", str(tmp_path / "trunk.pth"), canvas=4, stride=8)
    LoRAMethod(rank=4, alpha=6.0, scale_rule="sqrt_rank").apply(tower)
    trained = below(tensors, "trained.")
    load_updates(tower, trained, "lora")
    _, _, tokens = lorat_tokens(tower.eval(), tensors, trained["token_type_embed"])
    unmerged = tower.final_norm(tower.run(tokens)[0].patches)
    score = trained["head.cls_mlp.layers.2.weight"], trained["head.cls_mlp.layers.2.bias"]
    hidden = unmerged
    for layer in (0, 1):
        weight, bias = (trained[f"head.cls_mlp.layers.{layer}.{kind}"] for kind in ("weight", "bias"))
        hidden = torch.nn.functional.gelu(hidden @ weight.T + bias)
    close((hidden @ score[0].T + score[1]).unflatten(1, (4, 4))[..., 0], tensors["out.score_map"])
    merge(tower)
    state = {
        key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for key, v in tower.trunk.state_dict().items()
    }
    for name, weight in below(tensors, "merged.").items():
        close(state[name], weight)


def test_lorat_drop_path_on_part_of_the_batch():
    tensors = below(golden("lorat/variants"), "droppath.")
    block = Block(16, 2, qkv_bias=True, init_values=1.0, norm_layer=torch.nn.LayerNorm)
    for norm in (block.norm1, block.norm2):
        norm.eps = 1e-6
    block.load_state_dict(below(tensors, "block."))
    x = tensors["in"]
    for name, half in (
        ("attn", lambda part, rows: block.ls1(block.attn(block.norm1(part)))),
        ("ffn", lambda part, rows: block.ls2(block.mlp(block.norm2(part)))),
    ):
        x = add_on_rows(x, half, tensors[f"perm_{name}"][:3])
    close(x, tensors["out"])


def test_the_final_norm_has_the_releases_epsilon():
    tensors = golden("lorat/variants")
    tower = build_tower("timm://tiny_dinov2", golden_file("lorat/trunk"), stride=14)
    close(tower.final_norm(tensors["norm_eps.in"]), tensors["norm_eps.out"])


def spmtrack_tokens(tower, tensors, trained, search, state):
    types = trained["token_type_embed"]
    references = [tower.embed(tensors[f"in.z{n}"]).patches + types[tensors[f"in.mask{n}"].flatten(1)] for n in range(3)]
    x = tower.embed(tensors[f"in.x{search}"])
    query = (trained["track_query"] + trained["query_embed"]).expand(len(x.x), 1, -1) + state
    joined = torch.cat([query, *references, x.patches + types[2]], dim=1)
    return references, x.patches + types[2], Tokens(joined, joined.shape[1] - x.patches.shape[1], x.grid)


def test_spmtrack_tokens_blocks_and_norm():
    tower, tensors, trained = spmtrack_tower(), golden("spmtrack/model"), golden("spmtrack/trained")
    close(tower._canvas_positions(trained["track_query"].device).flatten(1).T, tensors["pos_embed"][0])
    state = torch.zeros(2, 1, 64)
    for search in (0, 1):
        references, of_search, tokens = spmtrack_tokens(tower, tensors, trained, search, state)
        for number, found in enumerate(references):
            close(found, tensors[f"z_tokens{number}"])
        close(of_search, tensors[f"x_tokens{search}"])
        frame, block = f"frame{search}", tower.blocks[0]
        attended = tower.attend(block, tokens.x, adapters=tower.adapters_of(0))[0]
        close(attended, block.ls1(tensors[f"{frame}.block0.attn"]))
        for number in (0, 1):
            last, _ = tower.run(tokens, [number])
            torch.testing.assert_close(last.x, tensors[f"{frame}.block{number}"], rtol=1e-4, atol=5e-5)
        final = tower.final_norm(last.x)
        torch.testing.assert_close(final, tensors[f"{frame}.norm"], rtol=1e-4, atol=5e-5)
        torch.testing.assert_close(final[:, :1], tensors[f"{frame}.state"], rtol=1e-4, atol=5e-5)
        state = tensors[f"{frame}.state"]
