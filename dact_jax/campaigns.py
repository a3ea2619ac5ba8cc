"""`dact_jax.campaign`: ask which images to label, tell their labels, from Python."""

import os
import pathlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

import ml_collections

from dact_jax import (
    classifier,
    compilation_cache as programs,
    errors,
    paths,
    result,
    runner,
)
from dact_jax.queries import query
from dact_jax.queries.query import Item, Query
from dact_jax.rounds import answers


class Question(NamedTuple):
    """The images that a person is to label now; each field has one entry for each."""

    round: int  # the round that will train on the labels; 0: the first labels
    ids: tuple[str, ...]  # as the dataset names the images, in the order of picking
    paths: tuple[str, ...]  # of the files; "" for a vector without one
    suggested: tuple[str, ...]  # the most likely class; "" before training
    confidences: tuple[float | None, ...]  # the probability of that class
    scores: tuple[float | None, ...]  # what the acquisition ranked by
    class_names: tuple[str, ...]  # what a label may be
    missing: tuple[str, ...]  # ids that have no label yet


class Campaign(NamedTuple):
    """A run whose labels a person gives, as a program sees it."""

    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    compilation_cache: str = ""  # as in `dact_jax.run`

    def __repr__(self) -> str:
        return f"Campaign({self.config.name!r}, workdir={str(self.workdir)!r})"

    def ask(
        self, *, accept_partial: bool = False, progress: bool = False
    ) -> Question | None:
        """Trains as far as it can; the images to label next, or None at the end.

        Answers in files are read as by the command. Asked again before all labels are
        told, it gives the same question, with the ids that are missing.

        Args:
          accept_partial: whether to go on though labels of the last question are
            missing; those images may be asked for again.
          progress: whether to print what the command prints.

        Raises:
          InputError, DivergedError, OSError: as `dact_jax.run`.
        """
        done = runner.run(
            self.config,
            self.workdir,
            accept_partial=accept_partial,
            progress=progress,
            compilation_cache=self.compilation_cache,
        )
        return None if done.query is None else _question(done.query, done.missing)

    def tell(
        self, labels: Mapping[str, str] | None = None, *, skip: Collection[str] = ()
    ) -> None:
        """Records labels; they are on the disk when this returns. A later one wins.

        Args:
          labels: id -> name of a class, for images that were asked for.
          skip: ids of images that no label fits: they leave the pool for good.

        Raises:
          InputError: an image was not asked for, or a label is no class; nothing is
            recorded then.
        """
        labels = {} if labels is None else labels
        if isinstance(skip, str):
            raise errors.InputError(f"skip must be a list of ids: use [{skip!r}].")
        asked = [query.read(place) for place in query.written(self.workdir)]
        items = {item.id: item for one in asked for item in one.items}
        names = asked[-1].class_names if asked else ()
        for id in [*labels, *skip]:
            if id not in items:
                raise errors.InputError(
                    f"{errors.quoted(id)} is no image that was asked for; "
                    f"{errors.suggestion(str(id), items)}"
                )
        for id, label in labels.items():
            _check(id, label, names, skip)
        when = answers.now()
        given = [_answer(items[id], str(label), when) for id, label in labels.items()]
        given += [_answer(items[id], "", when) for id in skip]
        if given:
            answers.append(self.workdir, given)

    def classifier(self) -> classifier.Classifier:
        """The network of the last checkpoint, as `dact_jax.load`."""
        return classifier.load(self.workdir)

    def result(self) -> result.Result:
        """What the folder records so far."""
        return result.read(self.workdir)


def campaign(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    compilation_cache: str | os.PathLike[str] = "",
) -> Campaign:
    """A run whose questions a program answers; its folder is that of any run.

        campaign = dact_jax.campaign(config, "runs/1")
        while (question := campaign.ask()) is not None:
            campaign.tell({id: label_of(id) for id in question.missing})

    Args:
      config: such as `dact_jax.config("folder")`, with source and target.
      workdir: the folder of the run; a new or empty one, or that of this very run.
      compilation_cache: as in `dact_jax.run`.

    Raises:
      InputError: config is no config, or programs cannot be kept in the folder.
    """
    runner.check_config(config)
    programs.check(compilation_cache)
    folder = pathlib.Path(paths.expanded(workdir, "workdir"))
    return Campaign(config, folder, os.fspath(compilation_cache))


def _question(asked: Query, missing: tuple[str, ...]) -> Question:
    items = asked.items
    return Question(
        round=asked.round,
        ids=tuple(item.id for item in items),
        paths=tuple(item.path for item in items),
        suggested=tuple(item.suggested for item in items),
        confidences=tuple(item.confidence for item in items),
        scores=tuple(item.score for item in items),
        class_names=asked.class_names,
        missing=missing,
    )


def _check(id: str, label: str, names: Collection[str], skip: Collection[str]) -> None:
    if id in skip:
        raise errors.InputError(f"{errors.quoted(id)} has a label and is in skip.")
    if not isinstance(label, str) or label not in names:
        raise errors.InputError(
            f"the label {errors.quoted(label)} of {errors.quoted(id)} is no class; "
            f"{errors.suggestion(str(label), names)}"
        )


def _answer(item: Item, label: str, when: str) -> answers.Answer:
    return answers.Answer(
        id=item.id,
        label=label,
        skip=not label,
        when=when,
        origin=answers.PYTHON,
        suggested=item.suggested,
    )
