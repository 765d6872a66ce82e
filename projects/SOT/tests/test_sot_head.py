"""Head, loss and embedding on their own: recorded values and gradients, a loop as the reference, and edge cases."""

import pytest
import torch
from helpers.golden import below, golden
from sot.embedding import TokenEmbedding, resize_positions
from sot.head import AnchorFreeHead, HeadOutput, cell_centres, decode
from sot.losses import OverlapLoss, SearchTargets, overlaps


def recorded_head():
    head = AnchorFreeHead(channels=64)
    head.load_state_dict(below(golden("lorat/trained"), "head."))
    tokens = golden("lorat/model")["train.norm"][:, 16:].reshape(2, 8, 8, 64)
    return head, tokens


def test_head_loss_and_gradients_are_those_of_the_release():
    head, tokens = recorded_head()
    numbers = golden("lorat/model")
    output = head(tokens)
    torch.testing.assert_close(
        head.cls_mlp(tokens).flatten(1, 2), numbers["train.head.score_raw"], rtol=1e-4, atol=2e-5
    )
    torch.testing.assert_close(head.reg_mlp(tokens).flatten(1, 2), numbers["train.head.box_raw"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(output.scores, numbers["train.score_map"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(output.boxes, numbers["train.boxes"], rtol=1e-4, atol=2e-5)
    targets = SearchTargets(numbers["target.box_pixels"], (8, 8), (112, 112))
    torch.testing.assert_close(targets.boxes, numbers["target.boxes"])
    batch, cell = targets.positive.flatten(1).nonzero().T
    assert batch.equal(numbers["target.pos_batch"]) and cell.equal(numbers["target.pos_cell"])
    assert len(batch) == numbers["target.num_pos"].item()
    true = targets.boxes[batch]
    fit = overlaps(output.boxes[targets.positive], true)[0]
    torch.testing.assert_close(fit, numbers["target.soft_score"], rtol=1e-4, atol=2e-5)
    output.scores.retain_grad()
    output.boxes.retain_grad()
    losses = OverlapLoss()(output, targets)
    torch.testing.assert_close(losses["loss_score"][None], numbers["loss.bce"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(losses["loss_box"][None], numbers["loss.giou"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(sum(losses.values())[None], numbers["loss.total"], rtol=1e-4, atol=2e-5)
    sum(losses.values()).backward()
    found = {f"head.{name}": parameter.grad for name, parameter in head.named_parameters()}
    found.update(score_map=output.scores.grad, boxes=output.boxes.grad)
    assert {name for name in below(numbers, "grad.") if name.startswith("head.")} == set(found) - {"score_map", "boxes"}
    for name, gradient in found.items():
        expected = numbers[f"grad.{name}"]
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6 * expected.abs().max().item())


def test_boxes_have_an_area_and_their_own_centre_cell_can_say_any_of_them():
    torch.manual_seed(0)
    boxes = decode(torch.randn(2, 5, 7, 4) * 20)
    assert (boxes[..., 2:] >= boxes[..., :2]).all() and boxes.isfinite().all()
    wanted = torch.tensor([0.3, 0.35, 0.8, 0.6])
    centres = cell_centres((5, 7))
    row, column = 2, 3
    near, far = centres[row, column] - wanted[:2], wanted[2:] - centres[row, column]
    distances = torch.zeros(1, 5, 7, 4)
    distances[0, row, column] = torch.logit(torch.cat([near, far]))
    torch.testing.assert_close(decode(distances)[0, row, column], wanted)
    # untrained, every box is one crop wide
    torch.testing.assert_close(decode(torch.zeros(1, 5, 7, 4))[0, 0, 0, 2:], centres[0, 0] + 0.5)


def random_case(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(batch, 2, generator=generator) * 60
    true = torch.cat([low, low + 8 + 30 * torch.rand(batch, 2, generator=generator)], dim=1).double()
    boxes = decode(torch.randn(batch, 6, 6, 4, generator=generator)).requires_grad_()
    return HeadOutput(torch.randn(batch, 6, 6, generator=generator).requires_grad_(), boxes), true


def test_the_loss_is_that_of_a_loop():
    output, true = random_case(3)
    targets = SearchTargets(true, (6, 6), (96, 96))
    score_sum, box_sum, count = 0.0, 0.0, 0
    for b in range(3):
        for i in range(6):
            for j in range(6):
                wanted = torch.zeros(())
                if targets.positive[b, i, j]:
                    count += 1
                    iou, giou = overlaps(output.boxes[b, i, j][None], targets.boxes[b][None])
                    wanted, box_sum = iou[0].detach(), box_sum + 1 - giou[0]
                score = output.scores[b, i, j]
                score_sum += -(wanted * score.sigmoid().log() + (1 - wanted) * (1 - score.sigmoid()).log())
    losses = OverlapLoss(box_weight=2.0)(output, targets)
    torch.testing.assert_close(losses["loss_score"], score_sum / count)
    torch.testing.assert_close(losses["loss_box"], 2 * box_sum / count)


def test_overlaps_of_hand_cases():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]])
    others = torch.tensor([[1.0, 0, 3, 2], [2, 0, 3, 1], [0, 0, 1, 1]])
    iou, giou = overlaps(boxes, others)
    torch.testing.assert_close(iou, torch.tensor([1 / 3, 0, 0]))
    torch.testing.assert_close(giou, torch.tensor([1 / 3, -1 / 3, 0]))


def test_a_batch_without_a_positive_cell_trains_scores_only():
    output, true = random_case(2)
    losses = OverlapLoss()(output, SearchTargets(true + 1000, (6, 6), (96, 96)))
    assert losses["loss_box"] == 0 and losses["loss_score"].isfinite()
    sum(losses.values()).backward()
    assert output.boxes.grad.equal(torch.zeros_like(output.boxes)) and output.scores.grad.abs().sum() > 0


def test_positions_are_shared_and_types_distinguish_tokens():
    torch.manual_seed(0)
    table = torch.randn(8, 4, 5)
    assert resize_positions(table, (4, 5)).equal(table)
    embedding = TokenEmbedding(positions=torch.randn(8, 7, 7), template_grid=(2, 3), search_grid=(4, 6))
    zeros = torch.zeros(1, 8, 2, 3)
    background = embedding.template(zeros, torch.zeros(1, 2, 3)) - embedding.types[0]
    target = embedding.template(zeros, torch.ones(1, 2, 3)) - embedding.types[1]
    search = embedding.search(torch.zeros(1, 8, 4, 6)) - embedding.types[2]
    torch.testing.assert_close(background, target)
    # the top left of the table, row by row
    torch.testing.assert_close(background[0].view(2, 3, 8), search[0].view(4, 6, 8)[:2, :3])
    mixed = torch.tensor([[[1, 0, 0], [0, 1, 1]]])
    assert not embedding.template(zeros, mixed).equal(embedding.template(zeros, 1 - mixed))


def test_the_positions_are_those_of_the_release():
    trunk, numbers = golden("lorat/trunk"), golden("lorat/model")
    table = trunk["pos_embed"][0, 1:].T.reshape(64, 11, 11)
    resized = resize_positions(table, (8, 8)).flatten(1).T[None]
    torch.testing.assert_close(resized, numbers["pos_embed"], rtol=1e-4, atol=2e-5)


def test_a_template_grid_outside_the_search_grid_is_an_error():
    with pytest.raises(ValueError, match="template_grid") as error:
        TokenEmbedding(positions=torch.zeros(8, 4, 4), template_grid=(4, 7), search_grid=(6, 6))
    assert "(4, 7)" in str(error.value) and "(6, 6)" in str(error.value)
