"""Base class of the export heads: post-processing of raw outputs inside an exported graph."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from engine.export.parity import Gap, largest, values_apart
from engine.types import Result, Size, Target


class ExportHead(nn.Module):
    """Base class of the tasks' export heads.

    `forward(*raw_outputs, network, given)` returns the tensors named by `outputs`. `network` is
    the size (height, width) of the network input, `given` the size of the image that the results
    refer to.
    """

    outputs: tuple[str, ...]  # names of forward's outputs

    def onnx_operators(self) -> dict[Any, Any]:
        """ONNX implementations of operators that torch.onnx cannot export; none by default."""
        return {}

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """Difference between two computations of these outputs: the largest of any value."""
        return largest([values_apart(*pair) for pair in zip(wanted, found, strict=True)])

    def results(
        self, outputs: Mapping[str, Tensor], size: Size, targets: Sequence[Target]
    ) -> Sequence[Result]:
        """Results as of mode="predict" from these outputs, which refer to images of `size`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement results()")
