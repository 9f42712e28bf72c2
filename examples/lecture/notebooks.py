"""Make notebooks of the lecture's scripts, which are in jupytext's percent format, and run them.

    pip install '.[lecture]'                                    in a clone of the repository
    python examples/lecture/notebooks.py FOLDER                 write a notebook for each script, without outputs
    python examples/lecture/notebooks.py FOLDER --execute       and run them, so that they have outputs
    python examples/lecture/notebooks.py FOLDER --solutions     with the exercises solved

Open them with Jupyter: `jupyter lab FOLDER`. The exercises are cells with dots to replace; the cell after each checks the answer.
--only NAME ... (such as l04) makes those alone whose names begin so.
"""

import argparse
import ast
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent


def title(cell):
    """Return the title of an exercise's cell, or None."""
    name = cell.metadata.get("title", "")
    return name if name.startswith("Exercise: ") else None


def solutions():
    """Return the source of every solution by its title."""
    import jupytext

    return {title(cell): cell.source for cell in jupytext.read(HERE / "solutions.py").cells if title(cell)}


def notebook(script, solved):
    """Return a script as a notebook; `solved` is a dict of solutions, or None.

    The docstring becomes its first cell, with indented lines as code.
    """
    import jupytext
    from nbformat.v4 import new_markdown_cell

    book = jupytext.read(script)
    first, *_ = book.cells
    text = ast.get_docstring(ast.parse(first.source))
    head, _, rest = text.replace("\nPrints: ", "\n\nPrints: ").replace("\nTakes: ", "\n\nTakes: ").partition("\n\n")
    book.cells[0] = new_markdown_cell(f"# {script.stem.partition('_')[0].upper()} {head.rstrip('.')}\n\n{rest}")
    for cell in book.cells:
        if solved is not None and title(cell):
            cell.source = solved.pop(title(cell))
    for number, cell in enumerate(book.cells):
        cell["id"] = f"{script.stem}-{number}"  # the same in every build
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return book


def execute(books, folder):
    """Run notebooks one after the other in one kernel, whose names are cleared between them; fill in their outputs."""
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [cell for book in books for cell in [*book.cells, new_code_cell("%reset -f")]]
    together = new_notebook(cells=cells, metadata={"kernelspec": books[0].metadata["kernelspec"]})
    NotebookClient(
        together, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()


def main():
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--execute", action="store_true", help="run the notebooks")
    parser.add_argument("--solutions", action="store_true", help="put the solutions into the exercises")
    parser.add_argument("--only", nargs="*", default=[""], metavar="NAME", help="beginnings of the scripts' names")
    options = parser.parse_args()
    try:
        import jupytext  # noqa: F401
        import nbformat
    except ImportError:
        sys.exit("notebooks need jupytext: pip install '.[lecture]' in a clone of the repository")
    scripts = [script for script in sorted(HERE.glob("l*.py")) if script.stem.startswith(tuple(options.only))]
    if not scripts:
        sys.exit(f"--only: no script begins with {' or '.join(options.only)}")
    solved = solutions() if options.solutions else None
    books = {script.stem: notebook(script, solved) for script in scripts}
    options.folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "shared.py", options.folder)
    if options.execute:
        execute(list(books.values()), options.folder)
    for name, book in books.items():
        nbformat.write(book, options.folder / f"{name}.ipynb")
        print(options.folder / f"{name}.ipynb")


if __name__ == "__main__":
    main()
