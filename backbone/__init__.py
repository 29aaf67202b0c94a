"""Backbones that all tasks share: images in, feature maps fine to coarse out."""

from backbone.interface import Backbone
from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from backbone.timm_backbone import TimmBackbone

__all__ = ["Backbone", "MobileNetV3", "PPLCNet", "TimmBackbone"]
