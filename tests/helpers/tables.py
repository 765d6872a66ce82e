"""Tables that programs print."""


def table_rows(printed: str) -> dict[str, list[str]]:
    """The rows of the Markdown tables in a text: by first cell, the others; the head and the line below it left out."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    tables = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    heads = {number for number, cells in enumerate(tables[1:]) if set("".join(cells)) <= set(":-")}
    kept = [cells for number, cells in enumerate(tables) if number not in heads and number - 1 not in heads]
    return {cells[0]: cells[1:] for cells in kept}
