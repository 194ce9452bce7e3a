"""What bpe raises about data on disk: always the file, the place, what was found and what to do."""

from bpe.places import Place


class ShardError(Exception):
    """A shard, manifest or vocabulary that cannot be trusted; command lines exit 1 with its one line."""

    def __init__(self, path: str | Place, place: str, found: str) -> None:
        self.path = str(path)
        self.place = place
        self.found = found
        super().__init__(f"{path}{f' at {place}' if place else ''}: {found}")

    def __reduce__(self) -> tuple[object, ...]:
        return ShardError, (self.path, self.place, self.found)
