"""Whether a backbone masks padding."""

import torch


def assert_alone_as_in_a_padded_batch(backbone):
    """An image of 50 x 41 gives the same levels alone and beside another one on a larger canvas."""
    image = torch.randn(3, 50, 41)
    alone, together = torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 96, 128)
    alone[0, :, :50, :41] = together[0, :, :50, :41] = image
    together[1] = torch.randn(3, 96, 128)
    with torch.no_grad():
        a, b = backbone(alone, [(50, 41)]), backbone(together, [(50, 41), (96, 128)])
    for name, spec in backbone.output_shape().items():
        rows, columns = -(-50 // spec.stride), -(-41 // spec.stride)
        valid = b[name][0, :, :rows, :columns]
        torch.testing.assert_close(a[name][0, :, :rows, :columns], valid, atol=1e-5, rtol=1e-5)
        outside = b[name][0].clone()
        outside[:, :rows, :columns] = 0
        assert not outside.any() or name in ("p5", "p6", "p7")
