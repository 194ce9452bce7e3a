"""What a merge of finished runs is: which runs, and what the run that they become says of itself.

In: the runs of consecutive windows, oldest first. Out: a `MergePlan`, or a ShardError that names what does not fit. The
rule: nothing is decided anew. The runs were made by the same rules, each against those before it, so what they kept
and dropped together is what one run over all of their input would have kept and dropped.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bpe.entries import Manifest
from bpe.errors import ShardError
from bpe.manifest import FILE_NAME
from pipelines.commit import RunIdentity, VocabularyCopy
from pipelines.generations import read_run
from pipelines.merge_figures import merge_details
from pipelines.near_state import STATE_FILE, RunState, read_description, run_state
from pipelines.settings import ShardRules
from pipelines.storage import join

_REMEDY = "leave it out with --windows"


class Member(NamedTuple):
    """A run that is merged with others."""

    folder: str
    manifest: Manifest
    state: RunState


class MergePlan(NamedTuple):
    """The run that several become."""

    members: tuple[str, ...]  # their folders, oldest first
    identity: RunIdentity
    rules: ShardRules | None  # None without a vocabulary
    vocabulary: VocabularyCopy | None
    description: dict[str, Any]  # state/deduplication.json
    manifests: tuple[Manifest, ...]  # of the members


def plan_merge(output: str, runs: Sequence[str]) -> MergePlan:
    """How the runs in these folders of a corpus become one; ShardError where they cannot."""
    members, descriptions = [], []
    for name in runs:
        folder = join(output, name)
        manifest = read_run(output, name).manifest
        if STATE_FILE not in {entry.name for entry in manifest.state}:
            raise ShardError(join(folder, FILE_NAME), "state", f"that run kept no state to compare with; {_REMEDY}")
        descriptions.append(read_description(folder))
        members.append(Member(folder, manifest, run_state(manifest, descriptions[-1])))
    _check_members(members)
    against = merge_against(members)
    first = members[0]
    vocabulary = first.manifest.vocabulary
    removals = tuple(removal for member in members for removal in member.manifest.removals)
    settings = merge_settings(members, against)
    details = merge_details([_details(member.manifest) for member in members])
    return MergePlan(
        members=tuple(member.folder for member in members),
        identity=RunIdentity(first.manifest.name, settings, details, removals),
        rules=_shard_rules(first) if vocabulary else None,
        vocabulary=VocabularyCopy(
            join(first.folder, vocabulary.name), vocabulary.fingerprint, vocabulary.size, vocabulary.encoding
        )
        if vocabulary
        else None,
        description=_merge_descriptions(members, descriptions, against),
        manifests=tuple(member.manifest for member in members),
    )


def merge_against(members: Sequence[Member]) -> dict[str, str]:
    """What the merged run counts as made against: identities and fingerprints of all earlier runs but the members.

    A run whose manifest has changed since, as documents were taken out, has the fingerprint that the last member saw.
    """
    ours = set(stands_for(members))
    found: dict[str, str] = {}
    for member in members:
        shown = _against_of(member.manifest)
        if len(shown) != len(member.state.made_against):
            said = f"made against {len(member.state.made_against)} runs, but its settings name {len(shown)}; {_REMEDY}"
            raise ShardError(join(member.folder, STATE_FILE), "made_against", said)
        found |= dict(zip(member.state.made_against, shown, strict=True))
    return {identity: fingerprint for identity, fingerprint in found.items() if identity not in ours}


def stands_for(members: Sequence[Member]) -> list[str]:
    """The identities by which other runs may know the members."""
    return [identity for member in members for identity in (member.state.identity, *member.state.stands_for)]


def merge_settings(members: Sequence[Member], against: Mapping[str, str]) -> dict[str, object]:
    """The settings that all members share, made against what none of them is."""
    settings = dict(members[0].manifest.settings)
    selection = settings["selection"]
    assert isinstance(selection, Mapping), "runs that keep state were made by rules of selection"
    return settings | {"selection": {**selection, "against": list(against.values())}}


def _check_members(members: Sequence[Member]) -> None:
    first = members[0]
    for member in members[1:]:
        for what, ours, theirs in (
            ("name", first.manifest.name, member.manifest.name),
            ("vocabulary", first.manifest.vocabulary, member.manifest.vocabulary),
            *_compare_settings(first.manifest, member.manifest),
        ):
            if ours != theirs:
                said = f"{_short(theirs)}, but {_short(ours)} in {first.folder}; {_REMEDY}"
                raise ShardError(join(member.folder, FILE_NAME), what, said)
    _refuse_twice(members, "inputs", lambda manifest: [entry.name for entry in manifest.inputs])
    _refuse_twice(members, "documents", lambda manifest: [entry.name for entry in manifest.documents])
    _refuse_twice(members, "rejected", lambda manifest: [entry.name for entry in manifest.rejected])


def _compare_settings(first: Manifest, other: Manifest) -> Iterable[tuple[str, object, object]]:
    one, two = _without_against(first), _without_against(other)
    return [(f"settings.{key}", one.get(key), two.get(key)) for key in sorted(one.keys() | two.keys())]


def _without_against(manifest: Manifest) -> dict[str, object]:
    selection = manifest.settings.get("selection")
    rules = selection if isinstance(selection, Mapping) else {}
    plain = {key: value for key, value in rules.items() if key != "against"}
    return {**manifest.settings, "selection": plain}


def _against_of(manifest: Manifest) -> list[str]:
    selection = manifest.settings.get("selection")
    against = selection.get("against") if isinstance(selection, Mapping) else None
    return list(against) if isinstance(against, Sequence) else []


def _refuse_twice(members: Sequence[Member], what: str, names_of: Any) -> None:
    """ShardError where two runs have something of one name: it would not be known whose it is."""
    known: dict[str, str] = {}
    for member in members:
        for name in names_of(member.manifest):
            if name in known:
                raise ShardError(join(member.folder, FILE_NAME), what, f"{name} is in {known[name]} too; {_REMEDY}")
            known[name] = member.folder


def _merge_descriptions(
    members: Sequence[Member], descriptions: Sequence[Mapping[str, Any]], against: Mapping[str, str]
) -> dict[str, Any]:
    own = ("made_against", "stands_for")
    shared = [{key: value for key, value in one.items() if key not in own} for one in descriptions]
    for member, one in zip(members, shared, strict=True):
        if one != shared[0]:
            said = f"its documents were compared in another way than those of {members[0].folder}; {_REMEDY}"
            raise ShardError(join(member.folder, STATE_FILE), "", said)
    return {**shared[0], "made_against": list(against), "stands_for": stands_for(members)}


def _shard_rules(member: Member) -> ShardRules:
    shards = member.manifest.settings.get("shards")
    try:
        return ShardRules(**shards) if isinstance(shards, dict) else ShardRules()
    except (TypeError, ValueError) as error:
        found = f"not the rules of shards that this version knows ({error}); use the version that wrote it"
        raise ShardError(join(member.folder, FILE_NAME), "settings.shards", found) from error


def _details(manifest: Manifest) -> Mapping[str, object]:
    details = manifest.statistics.get("details")
    return details if isinstance(details, Mapping) else {}


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
