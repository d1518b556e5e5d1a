"""A run as a Workflow Run RO-Crate: the workflow, its configuration and its results in one described archive.

The crate follows the Workflow Run Crate profile 0.5 (https://w3id.org/ro/wfrun/workflow/0.5) of RO-Crate 1.1. No slice
and no table with a row for each slice or patient is in it: the data is named by its size and its checksums.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rocrate.model import ComputationalWorkflow, Entity
from rocrate.rocrate import ROCrate

from ich.base.errors import InputError
from ich.base.files import replacing

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_INPUTS = (
    ("configuration", "File", "Configuration of the run, all files laid over each other"),
    ("labels", "Text", "SHA-256 of the label file"),
    ("slices", "Text", "Number and bytes of the DICOM files, SHA-256 over their image ids and sizes"),
)
_KINDS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}


def write_crate(
    path: str | Path,
    *,
    root: str | Path,
    workflow_files: Sequence[Path],
    results: str | Path,
    result_files: Sequence[str | Path],
    configuration: Mapping[str, Any],
    labels: str | Path,
    inventory: pd.DataFrame,
    commit: str | None,
    period: tuple[datetime, datetime],
    snakemake_version: str,
    synthetic: bool,
) -> None:
    """Write the crate of a finished run.

    Parameters
    ----------
    path : path
        The archive, .zip.
    root : path
        The repository's folder.
    workflow_files : list of path
        Files of the workflow, relative to `root`, Snakefile among them (`provenance.workflow_files`).
    results : path
        Folder of the results.
    result_files : list of path
        The results that the crate holds; in the crate they stand under `results/`.
    configuration : mapping
        The whole configuration of the run.
    labels : path
        The label file; its checksum goes into the crate.
    inventory : DataFrame
        data/inventory.parquet; number and bytes of the files, and a checksum over image ids and sizes, go into the
        crate.
    commit : str or None
        As of `provenance.commit`.
    period : tuple of datetime
        As of `provenance.period`.
    snakemake_version : str
        Version of the engine.
    synthetic : bool
        Say that the data is synthetic.

    Raises
    ------
    InputError
        A file of the workflow or of the results does not exist.
    """
    sources = {Path(name): Path(root, name) for name in workflow_files}
    outputs = {Path("results", Path(each).relative_to(results)): Path(each) for each in result_files}
    for source in [*sources.values(), *outputs.values()]:
        if not source.is_file():
            raise InputError(f"{source} does not exist; run the workflow to its end before exporting it")

    crate = ROCrate(version="1.1")
    _describe(crate, synthetic, period)
    snakefile = _add_workflow(crate, sources, snakemake_version, commit)
    used = _add_inputs(crate, snakefile, configuration, labels, inventory)
    made = [
        crate.add_file(source, name.as_posix(), properties=_kind(name) | {"sha256": _sha256(source)}, record_size=True)
        for name, source in outputs.items()
    ]
    crate.root_dataset["mentions"] = crate.add_action(
        snakefile,
        identifier="#run",
        object=used,
        result=made,
        properties={
            "name": "Run of the workflow",
            "description": "All jobs from the label file and the slices to the comparison",
            "startTime": period[0].isoformat(),
            "endTime": period[1].isoformat(),
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    with replacing(path) as partial, partial.open("wb") as archive:
        for piece in crate.stream_zip():
            archive.write(piece)


def _describe(crate: ROCrate, synthetic: bool, period: tuple[datetime, datetime]) -> None:
    """Say what the crate is, of which profiles, under which terms."""
    data = "synthetic head CT" if synthetic else "head CT"
    crate.name = f"Detection of intracranial haemorrhage in {data}: a run of the workflow"
    crate.description = (
        "Models, metrics, figures and comparison of one run, with the workflow and the configuration that made them. "
        + ("The data is synthetic. " if synthetic else "")
        + "Research only, not for diagnosis."
    )
    crate.license = crate.add_jsonld(
        {
            "@id": "https://www.apache.org/licenses/LICENSE-2.0",
            "@type": "CreativeWork",
            "name": "Apache License 2.0",
            "description": "Of the workflow; weights and figures are under the terms of the data that they come from.",
        }
    )
    crate.metadata["conformsTo"] = [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": [*_PROFILES][-1]}]
    crate.root_dataset["conformsTo"] = [
        crate.add_jsonld({"@id": address, "@type": "CreativeWork", "name": name, "version": address.rsplit("/")[-1]})
        for address, name in _PROFILES.items()
    ]
    crate.root_dataset["datePublished"] = period[1].isoformat()


def _add_workflow(
    crate: ROCrate, sources: Mapping[Path, Path], snakemake_version: str, commit: str | None
) -> ComputationalWorkflow:
    """Add the files of the workflow; give the Snakefile's entity."""
    for name, source in sources.items():
        if name != Path("Snakefile"):
            about = {"about": {"@id": "./"}} if name == Path("README.md") else {}
            crate.add_file(source, name.as_posix(), properties=_kind(name) | about)
    return crate.add_workflow(
        sources[Path("Snakefile")],
        "Snakefile",
        main=True,
        lang="snakemake",
        lang_version=snakemake_version,
        properties={
            "name": "Detection of intracranial haemorrhage in head CT",
            "encodingFormat": "text/plain",
            "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
            "license": {"@id": "https://www.apache.org/licenses/LICENSE-2.0"},
        }
        | ({"version": commit} if commit else {}),
    )


def _add_inputs(
    crate: ROCrate,
    snakefile: ComputationalWorkflow,
    configuration: Mapping[str, Any],
    labels: str | Path,
    inventory: pd.DataFrame,
) -> list[Entity]:
    """Add the configuration, and the data by their checksums alone; give their entities."""
    parameters = {
        name: crate.add_formal_parameter(
            name,
            kind,
            identifier=f"#parameter-{name}",
            description=meaning,
            valueRequired=True,
            properties={"conformsTo": {"@id": "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"}},
        )
        for name, kind, meaning in _INPUTS
    }
    snakefile["input"] = [*parameters.values()]

    used = crate.add_file(
        io.StringIO(yaml.safe_dump(dict(configuration), sort_keys=True)),
        "configuration.yaml",
        properties=_kind(Path("configuration.yaml")),
    )
    used["exampleOfWork"] = parameters["configuration"]
    values = {"labels": f"sha256 {_sha256(labels)}", "slices": _described(inventory)}
    data = [
        crate.add_jsonld(
            {
                "@id": f"#{name}",
                "@type": "PropertyValue",
                "name": name,
                "value": value,
                "exampleOfWork": {"@id": parameters[name].id},
            }
        )
        for name, value in values.items()
    ]
    return [used, *data]


def _kind(path: Path) -> dict[str, str]:
    kind = _KINDS.get(path.suffix, "application/octet-stream" if path.suffix == ".safetensors" else "text/plain")
    return {"name": path.name, "encodingFormat": kind}


def _sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(inventory: pd.DataFrame) -> str:
    lines = "".join(f"{name} {size}\n" for name, size in zip(inventory["image_id"], inventory["bytes"], strict=True))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return f"{len(inventory)} files, {inventory['bytes'].sum()} bytes, sha256 {digest}"
