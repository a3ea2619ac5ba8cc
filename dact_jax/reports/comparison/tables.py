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
        (method.name, len(method.runs), *map(shown, of_method))
        for method, of_method in zip(methods, summaries(methods, budget), strict=True)
    ]
    return Table(("method", "seeds", *_heads(budget)), body)


def as_markdown(methods: Sequence[Method], budget: Budget) -> str:
    """The table as Markdown."""
    found = table(methods, budget)
    return markdown.table(found.head, found.rows)


def as_latex(methods: Sequence[Method], budget: Budget, about: str) -> str:
    """The table as LaTeX (booktabs); the best mean of each column is bold.

    Args:
      about: what the numbers are, for the caption.
    """
    found = summaries(methods, budget)
    best = [
        max(shown_mean(of_method[place]) for of_method in found)
        for place in range(len(budget.labels))
    ]
    lines = []
    for method, of_method in zip(methods, found, strict=True):
        cells = [
            rf"$\mathbf{{{_number(one)}}}$"
            if shown_mean(one) == top
            else f"${_number(one)}$"
            for one, top in zip(of_method, best, strict=True)
        ]
        lines.append(" & ".join([latex(method.name), *cells]) + r" \\")
    heads = " & ".join(str(labels) for labels in budget.labels)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(about)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(budget.labels)}}}",
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


def _heads(budget: Budget) -> list[str]:
    return [f"{labels} labels" for labels in budget.labels]
