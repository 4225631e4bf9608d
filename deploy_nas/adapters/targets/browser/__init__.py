"""A browser as a target, and onnxruntime-web."""

from __future__ import annotations

from deploy_nas.adapters.targets.browser.chromium import ADDRESS, find_browser
from deploy_nas.adapters.targets.browser.target import PAGE, BrowserTarget
from deploy_nas.adapters.targets.browser.web_runtime import WebRuntime, find_web_runtime

__all__ = ["ADDRESS", "PAGE", "BrowserTarget", "WebRuntime", "find_browser", "find_web_runtime"]
