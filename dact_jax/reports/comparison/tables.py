"""The table of a comparison, and its text in Markdown and in LaTeX."""

from collections.abc import Sequence

from dact_jax.reports import markdown
from dact_jax.reports.comparison import comparable
from dact_jax.reports.comparison.comparable import Budget
from dact_jax.reports.comparison.runs import Method
from dact_jax.reports.comparison.statistics import Summary, summary
from dact_jax.reports.sections.content import Table

_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"}
_LATEX |= {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def summaries(methods: Sequence[Method], budget: Budget) -> list[list[Summary]]:
    """For each method, mean and deviation at each number of labels."""
    return [
        [
            summary([comparable.at(run, labels) for run in method.runs])
            for labels in budget.labels
        ]
        for method in methods
    ]


def table(methods: Sequence[Method], budget: Budget) -> Table:
    """Accuracies in %, by method and number of target labels."""
    body = [
        (
            method.name,
            len(method.runs),
            *("-" if one is None else shown(one) for one in row),
        )
        for method, row in zip(methods, _rows(methods, budget), strict=True)
    ]
    return Table(("method", "seeds", *_heads(methods, budget)), body)


def as_markdown(methods: Sequence[Method], budget: Budget) -> str:
    """The table as Markdown."""
    found = table(methods, budget)
    return markdown.table(found.head, found.rows)


def as_latex(
    methods: Sequence[Method], budget: Budget, about: str, *, bold: Sequence[str] = ()
) -> str:
    """The table as LaTeX (booktabs).

    Args:
      about: what the numbers are, for the caption.
      bold: the method that is bold at each number of labels; "" for none.
    """
    lines = []
    bold = [""] * (len(_heads(methods, budget)) - len(bold)) + [*bold]
    for method, row in zip(methods, _rows(methods, budget), strict=True):
        cells = [
            "--"
            if one is None
            else rf"$\mathbf{{{_number(one)}}}$"
            if name == method.name
            else f"${_number(one)}$"
            for one, name in zip(row, bold, strict=True)
        ]
        lines.append(" & ".join([latex(method.name), *cells]) + r" \\")
    heads = " & ".join(head.removesuffix(" labels") for head in _heads(methods, budget))
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(about)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(_heads(methods, budget))}}}",
            r"\toprule",
            rf"method & {heads} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex(text: str) -> str:
    """A text as LaTeX shows it, on one line."""
    line = " ".join(text.split())
    return "".join(_LATEX.get(letter, letter) for letter in line)


def shown(one: Summary) -> str:
    """A mean with its deviation, such as "65.4 ± 2.1"."""
    return f"{one.mean:.1f}" + ("" if one.std is None else f" ± {one.std:.1f}")


def shown_mean(one: Summary) -> float:
    """The mean as it is shown: equal ones are equally good."""
    return round(one.mean, 1)


def _number(one: Summary) -> str:
    return f"{one.mean:.1f}" + ("" if one.std is None else rf" \pm {one.std:.1f}")


def is_level(method: Method, budget: Budget) -> bool:
    """Whether a method uses no target label, where others do."""
    return bool(budget.last) and all(map(comparable.is_level, method.runs))


def _rows(methods: Sequence[Method], budget: Budget) -> list[list[Summary | None]]:
    """Each method's cells: a level has one number, in the column of 0 labels."""
    own = _has_levels(methods, budget) and 0 not in budget.labels
    rows: list[list[Summary | None]] = []
    for method, found in zip(methods, summaries(methods, budget), strict=True):
        if is_level(method, budget):
            rows.append([found[0], *[None] * (len(found) - 1 + own)])
        else:
            rows.append([*[None] * own, *found])
    return rows


def _has_levels(methods: Sequence[Method], budget: Budget) -> bool:
    return any(is_level(method, budget) for method in methods)


def _heads(methods: Sequence[Method], budget: Budget) -> list[str]:
    own = _has_levels(methods, budget) and 0 not in budget.labels
    return [
        *["0 labels"] * own,
        *(f"{labels} labels" for labels in budget.labels),
    ]
