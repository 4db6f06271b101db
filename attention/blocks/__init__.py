"""Blocks: what a layer of the LieTransformer does with the features of its points."""

from attention.blocks.base import AttentionBlock, Block, ConvolutionBlock, KernelMaker
from attention.blocks.fibres import FibreConvolution, GroupLinear
from attention.blocks.message_passing import EdgeNetworkBlock, InteractionBlock, MessageBlock
from attention.blocks.separable import ConvNextBlock, GroupConvolutionBlock, SeparableBlock

__all__ = [
    "AttentionBlock",
    "Block",
    "ConvNextBlock",
    "ConvolutionBlock",
    "EdgeNetworkBlock",
    "FibreConvolution",
    "GroupConvolutionBlock",
    "GroupLinear",
    "InteractionBlock",
    "KernelMaker",
    "MessageBlock",
    "SeparableBlock",
]
