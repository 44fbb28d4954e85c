"""The secret by which servers know a client node again."""

import uuid
from pathlib import Path

from moot.gossip.errors import ConfigError
from moot.gossip.net.files import replace_file

FILE = "client-secret-id"


def client_secret(data_dir: Path | None) -> str:
    """The one kept in the data directory, made there at first; without a directory a fresh one.

    It belongs to `identity.node_id`. Raises ConfigError when the directory cannot be used.
    """
    made = str(uuid.uuid4())
    if data_dir is None:
        return made
    path = data_dir / FILE
    try:
        if path.exists():
            return str(uuid.UUID(path.read_text("ascii").strip()))
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, f"{made}\n".encode())
    except OSError as error:
        raise ConfigError(f"data directory {data_dir}: {error.strerror}; give another --data-dir") from None
    except ValueError:
        raise ConfigError(f"{path} holds no UUID; remove the file to get a new one") from None
    return made
