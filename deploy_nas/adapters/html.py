"""HTML from templates. The only importer of Jinja2, which is loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def render(template: str, values: Mapping[str, Any], parts: Mapping[str, str] | None = None) -> str:
    """Fill a Jinja2 template. Text is escaped, and an undefined name raises ``jinja2.UndefinedError``.

    Args:
        template: its text.
        values: by name.
        parts: templates that it includes, by name.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.DictLoader(parts or {}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment.from_string(template).render(**values)
