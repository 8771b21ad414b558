"""The published JSON schema of scenario files, for editors and other programs.

``python -m scenarios.json_schema`` writes `scenarios/schema.json` again; a test holds it to the models.
"""

from __future__ import annotations

import json
from pathlib import Path

from scenarios.schema import ACTIONS, ScenarioFile

SCHEMA_FILE = Path(__file__).with_name("schema.json")


def text() -> str:
    """The schema as it is published."""
    schema = ScenarioFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "multinet scenario"
    # The models check "exactly one action" in code; say it here in the schema's own words.
    schema["$defs"]["Step"]["oneOf"] = [{"required": [action]} for action in ACTIONS]
    for action in ACTIONS:
        _drop_null(schema["$defs"]["Step"]["properties"][action])
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def _drop_null(field: dict[str, object]) -> None:
    """An action that is given is never null, though the model's default is None."""
    options = field.get("anyOf")
    if isinstance(options, list):
        kept = [option for option in options if option != {"type": "null"}]
        del field["anyOf"]
        field.pop("default", None)
        if len(kept) == 1:
            field.update(kept[0])
        else:
            field["anyOf"] = kept


def main() -> None:
    """Write the file."""
    SCHEMA_FILE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
