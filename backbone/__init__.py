"""Backbones that all tasks share: images in, feature maps fine to coarse out."""

from .interface import Backbone
from .mobilenetv3 import MobileNetV3
from .pplcnet import PPLCNet
from .timm_backbone import TimmBackbone

__all__ = ["Backbone", "MobileNetV3", "PPLCNet", "TimmBackbone"]
