"""Runs a notebook from top to bottom and stores its outputs, without times and versions.

    .venv-demo/bin/python examples/run_notebook.py examples/liquidations.ipynb [executed.ipynb]

Without a second name, the outputs are stored in the notebook itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

LONGEST = 240  # seconds a cell


def execute(path: Path, output: Path) -> None:
    """Use this interpreter as the kernel, in the notebook's directory. Raises the error of the cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    metadata = dict(notebook.metadata)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=LONGEST, kernel_name="python3", resources=where, record_timing=False).execute()
    notebook.metadata = nbformat.from_dict(metadata)
    nbformat.write(notebook, output)


if __name__ == "__main__":
    execute(Path(sys.argv[1]), Path(sys.argv[-1]))
