"""The one training loop, and the two ways into it: a new run, and a run that goes on.

Everything is a function of the configuration and `(seed, step)`: on one machine's CPU, training to step K and resuming
to step N gives the very bits of training to N.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from ganzoo.compute import processors, rule
from ganzoo.compute.device import device_name, torch_settings
from ganzoo.compute.distributed import ALONE, World
from ganzoo.config import RunConfig, Variant
from ganzoo.errors import DivergedError, Interrupted, MachineError, UsageError
from ganzoo.evaluation.monitor import Monitor, describe, warning
from ganzoo.runs import checkpoint
from ganzoo.runs.opening import as_generator, preview
from ganzoo.runs.records import LogLine, Rollback
from ganzoo.runs.run import Run, to_go_on
from ganzoo.runtime.images import save_png
from ganzoo.training import tuning
from ganzoo.training.edits import take_edits
from ganzoo.training.interruption import Received, interruption
from ganzoo.training.options import Options
from ganzoo.training.pace import Pace
from ganzoo.training.plausibility import find_implausible
from ganzoo.training.prepare import (
    Training,
    changes,
    configure,
    keep_compute,
    kept_horizons,
    lost_exactness,
    prepare,
    with_budget,
    with_compute,
)
from ganzoo.training.progress import Progress
from ganzoo.training.rollback import check_going_back, finish_going_back, half_the_rates, with_rates
from ganzoo.training.starting import load_start, open_start
from ganzoo.training.state import TrainingState
from ganzoo.training.updates import Updates
from ganzoo.zoo.build import check_range
from ganzoo.zoo.handing_over import VariantParts, describe_needs, take_again

PICTURE_UPDATES = 1000  # the even cadence of pictures: the whole epochs nearest to this many updates


def train(
    variant: str | Variant | None = None,
    dataset: Any = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    world: World = ALONE,
    **options: Unpack[Options],
) -> Run:
    """Train a variant into a new run directory, and return the run.

    Args:
        variant: a registered name (`ganzoo list variants`) or a `Variant`; None where `config` names one.
        dataset: a source (`auto`, `mnist`, `mnist-5k`, a path, or another of `ganzoo list datasets`), or images in
            memory (see `ganzoo.data.from_object`); None for `auto`.
        out: the run's directory, which must not exist; None for one under `runs/`.
        progress: whether to show progress on stderr.
        world: of a run on several processes, what `ganzoo.distributed.joined` gave this one.
        options: those of `ganzoo.training.options.Options`, which are the flags of `ganzoo train`; of the budgets
            `epochs`, `steps` and `minutes` one, or none for 5 minutes. Besides, parts in place of the variant's
            (`ganzoo.zoo.handing_over.VariantParts`), by name or as a class, function or module:
            `generator=MyGenerator`.

    Raises: the errors of `ganzoo.errors`; `Interrupted`, a KeyboardInterrupt, after it has saved.
    """
    return start(configure(variant, dataset, **options), dataset, out=out, progress=progress, world=world)


def start(
    config: RunConfig,
    dataset: Any = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    world: World = ALONE,
) -> Run:
    """Train a configuration into a new run directory; `dataset` is read only if it is images in memory."""
    before = processors.read()
    training = prepare(config, dataset, world=world)
    reporter = Progress(enabled=progress and world.leads)
    training = with_compute(training, before)
    repeated = training.config.compute == config.compute
    line = rule.describe(training.config, repeated=repeated)
    if config.train.tune and not repeated:
        completed, line = tuning.tune(training)
        training = replace(training, config=completed)
    completed, horizon = tuning.with_horizon(training)
    training = replace(training, config=completed)
    with torch_settings(training.config):
        state = TrainingState(
            training.config, training.device, world
        )  # first: what cannot be built leaves no directory
        check_range(state.objective.generator, training.config)
        inherited = _inherit(training.config, state)
        began = time.monotonic()
        monitor = _monitor(training)
        judging = time.monotonic() - began
        _check_alike(training, state)
        run = _on_the_first(world, lambda: Run.create(training.config, out, device_name(training.device)))
        needs = describe_needs(training.config.variant)
        note = needs and f"note: {needs}"
        for text in filter(None, (f"run: {run.path}", *training.lines, inherited, line, horizon, note)):
            reporter.say(text)
        with _locked(run, world):
            start_up = time.monotonic() - before.time - judging
            return _fit(Session(run, training, state, reporter, monitor, start_up))


def resume(
    run: str | Path | Run,
    *,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    threads: int | None = None,
    dataset: Any = None,
    progress: bool = True,
    world: World = ALONE,
    **parts: Unpack[VariantParts],
) -> Run:
    """Go on with a run in place from its newest checkpoint, bit-exactly on the CPU that it was trained on.

    Args:
        epochs, steps: the run's new total; minutes: that much more time; none of them: what is left of its budget.
        threads: as many CPU threads from here on; another number than before ends exactness.
        dataset: the images again, for a run that was trained on images in memory.
        world: as of `train`; each process reads the checkpoint.
        parts: those again that were handed over to `train` as objects, for a process that does not have them.

    Raises: as `train`; FileError for a damaged checkpoint or for data that are no longer the same.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    take_again(run.config.variant, parts)
    reporter = Progress(enabled=progress and world.leads)
    with _locked(run, world):
        budget = {"epochs": epochs, "steps": steps, "minutes": minutes}
        return _resume(run, budget, threads, dataset, reporter, world)


def _resume(
    run: Run, budget: dict[str, float | None], threads: int | None, dataset: Any, reporter: Progress, world: World
) -> Run:
    before = processors.read()
    if world.leads:
        checkpoint.restore(run.checkpoints_directory)
        run.sweep()
    world.gather(None)  # until that is done
    latest = run.latest_checkpoint()
    saved = latest.state()
    former = finish_going_back(run, reporter.say, world.leads)
    world.gather(None)
    edited, edits = take_edits(run, former)
    training = prepare(with_budget(edited, budget, float(saved["seconds"])), dataset, resumed=True, world=world)
    training = keep_compute(training, former.compute, threads, before)
    lost = lost_exactness(run, training, int(saved["processes"]))
    changed = [*changes(former, training.config), *edits, *lost]
    for line in [*changed, *kept_horizons(former, training)]:
        reporter.say(line)
    with torch_settings(training.config):
        state = TrainingState(training.config, training.device, world)
        state.restore(latest)
        left = not latest.final and state.step == training.total_steps  # its last picture and evaluation are to be done
        if not left and (latest.final or any(budget.values())):
            training.check_budget(state.step, state.seconds)
        monitor = _monitor(training)
        _check_alike(training, state)
        if world.leads:
            run.cut_lines(state.step)
            run.write_config(training.config)
        reporter.say(f"run: {run.path}, from step {state.step}")
        session = Session(run, training, state, reporter, monitor)
        if not latest.final:
            session.recall_evaluation()
        if world.leads and run.lines_missing():  # they begin again, and no checkpoint may vouch for the former ones
            session.save(final=latest.final, fid=latest.distance)
        return _fit(session)


def _inherit(config: RunConfig, state: TrainingState) -> str | None:
    """Load the weights that a new run starts from, and return a line on them; None if it starts from none."""
    start, frozen = config.train.start_from, config.train.freeze_discriminator
    if start is None:
        if frozen:
            raise UsageError("train.freeze_discriminator keeps weights of another run: name it with --from RUN")
        return None
    line = load_start(state, open_start(start))
    return f"{line}; frozen: {', '.join(state.frozen)}" if frozen else line


def _monitor(training: Training) -> Monitor | None:
    """What evaluates the run on the way, where that was asked for."""
    train = training.config.train
    asked = train.evaluate_every or train.evaluate_epochs or train.evaluate_seconds
    if train.target_fid is not None and not asked:
        raise UsageError("target_fid is compared when the run is evaluated, and it never is: --evaluate-every 1000")
    return Monitor(training.dataset, training.config) if asked and training.world.leads else None


def _on_the_first(world: World, make: Callable[[], Run]) -> Run:
    """What the first of the processes makes, on all of them."""
    (made, *_) = world.gather(make() if world.leads else None)
    assert made is not None
    return made


def _locked(run: Run, world: World) -> AbstractContextManager[None]:
    """The lock of the run, which the first of its processes holds for all."""
    return run.lock() if world.leads else nullcontext()


def _check_alike(training: Training, state: TrainingState) -> None:
    """Raises MachineError where the processes would not train the same thing."""
    own = training.config.to_json()
    for rank, text in enumerate(training.world.gather(own)):
        if text != own:
            line, *_ = changes(RunConfig.from_json(text), training.config)
            raise MachineError(f"process {rank} and process {training.world.rank} differ: {line.partition(': ')[2]}")
    state.check_alike()


class Session:
    """One sitting at a run, and what follows a step."""

    def __init__(
        self,
        run: Run,
        training: Training,
        state: TrainingState,
        progress: Progress,
        monitor: Monitor | None,
        start_up: float | None = None,
    ) -> None:
        """Begin at the state's step; `start_up` is how many seconds the run took until here, None for a resumed one."""
        self.run = run
        self.training = training
        self.config = training.config
        self.state = state
        self.world = training.world
        self.progress = progress
        self.monitor = monitor
        self.start_up = start_up
        self.batches = training.batches(state.objective)
        self.updates = Updates(state, self.config)
        self._picture_epochs = _picture_epochs(self.config, training.loader.batches_per_epoch)
        self._started = time.monotonic() - state.seconds
        self._logged = (state.step, state.seconds)
        self._seen = state.seconds  # after the last step
        compute = self.config.chosen
        alone = compute.device == "cpu" and self.world.size == 1
        source = self.config.data.source
        self.pace = Pace(run.path, compute.threads, alone=alone, step=state.step, seconds=state.seconds, source=source)
        self._distance: tuple[int, float] | None = None  # step and FID of the last evaluation
        self._looked = False  # whether the networks were looked at, at the first log line
        self._reached = False  # whether the distance is the target, or less
        self.finished = False  # whether the budget was spent when all processes last agreed on it

    def agree(self, received: Received) -> bool:
        """Agree with all processes on whether to take another step, and note why not: they stop together.

        The first one's clock counts, and a signal to any of them.
        """
        due = self.world.leads and self.is_over()  # its clock alone leaves out evaluations
        over, number = self.world.greatest(due, received.number or 0)
        self.finished, received.number = bool(over), int(number) or None
        return not over and not number

    def is_over(self) -> bool:
        """Return whether the budget is spent, or the target reached."""
        minutes, total = self.config.train.minutes, self.training.total_steps
        if self._reached:
            return True
        if minutes is not None:
            return self.seconds() >= 60 * minutes
        return total is not None and self.state.step >= total

    def seconds(self) -> float:
        """Time spent training this run, in this sitting and those before."""
        return time.monotonic() - self._started

    def after_step(self) -> None:
        """Progress, a log line, a picture, a checkpoint, each where it is due; the first process does them for all."""
        step, train = self.state.step, self.config.train
        if step % train.checkpoint_every == 0:
            self.state.check_alike()
        if not self.world.leads:
            return
        epoch = self.training.epoch(step)
        self.progress.advance(step, self.training.total_steps, epoch, self._share_done())
        if step % train.log_every == 0:
            self._log(step, epoch)
        for done in range(int(self.training.epoch(step - 1)) + 1, int(epoch) + 1):
            if self._picture_epochs(done):
                self.picture(f"epoch-{done:04d}.png")
        seconds = self.seconds()
        if report := self.pace.after_step(step, seconds):
            self.progress.say(report)
        if self._evaluation_is_due(step, epoch, seconds) and self.evaluate(step, epoch) and not self.is_over():
            self.save(final=False)
        self._seen = seconds
        if step % train.checkpoint_every == 0 and not self.is_over():  # a final one follows at once
            self.save(final=False)

    def save(self, *, final: bool, fid: float | None = None) -> None:
        """Save a checkpoint; a `final` one, at the end of a budget, is kept until the next final one.

        `fid` is its distance if it was evaluated, and is known already for the last evaluation of this sitting.
        """
        if self._distance is not None and self._distance[0] == self.state.step:
            fid = self._distance[1]
        self.check_finite()
        self.run.check_present()
        state, directory = self.state, self.run.checkpoints_directory
        checkpoint.save(
            directory,
            state.step,
            state.parts(),
            {
                "step": state.step,
                "seconds": round(self.seconds(), 3),
                "processes": self.world.size,
                "final": final,
                "fid": fid,
                "logs": state.logs.to_json(),
                "lines": self.run.vouch_for_lines(),
                "config": self.config.model_dump(mode="json"),
            },
        )
        checkpoint.prune(directory)

    def picture(self, name: str) -> None:
        """The averaged generator on fixed latents."""
        self.run.check_present()
        generator = as_generator(self.state.averaged_generator, self.config, self.training.device)
        save_png(self.run.samples / name, preview(generator, self.config.train.seed))

    def evaluate(self, step: int, epoch: float) -> bool:
        """Add a line to `evaluations.jsonl`, warn of classes lost, and return whether it is the best so far.

        The time that this takes counts neither as training nor against a budget of minutes.
        """
        assert self.monitor is not None
        began, seconds = time.monotonic(), self.seconds()
        former = self.run.read_evaluations()
        generator = as_generator(self.state.averaged_generator, self.config, self.training.device)
        elapsed = None if self.start_up is None else round(seconds + self.start_up, 3)
        line = self.monitor.evaluate(
            generator, step=step, epoch=round(epoch, 6), seconds=round(seconds, 3), elapsed=elapsed
        )
        target = self.config.train.target_fid
        if target is not None and line.figures["fid"] <= target:
            confirmed = self.monitor.confirm(generator, draw=step)
            line = line.model_copy(update={"confirmed_fid": confirmed})
            self._reached = confirmed <= target
        self.run.append_evaluation(line)
        for text in (describe(line), warning(line, former)):
            if text:
                self.progress.say(text)
        self._distance = (step, line.figures["fid"])
        self._started += time.monotonic() - began  # before the checkpoint, which says how long it was trained
        return all(line.figures["fid"] < other.figures["fid"] for other in former)

    def evaluate_at_the_end(self) -> None:
        """Do the last evaluation, unless the last step was evaluated already."""
        if self.monitor is not None and (self._distance is None or self._distance[0] != self.state.step):
            self.evaluate(self.state.step, self.training.epoch(self.state.step))

    def recall_evaluation(self) -> None:
        """Take over an evaluation of this very step, by a process that was killed before it could save."""
        target = self.config.train.target_fid
        for line in self.run.read_evaluations()[-1:]:
            if line.step == self.state.step:
                self._distance = (line.step, line.figures["fid"])
                confirmed = line.confirmed_fid
                self._reached = target is not None and confirmed is not None and confirmed <= target

    def _evaluation_is_due(self, step: int, epoch: float, seconds: float) -> bool:
        train, before = self.config.train, self._seen
        return self.monitor is not None and bool(
            (train.evaluate_every and step % train.evaluate_every == 0)
            or any(self.training.epoch(step - 1) < due <= epoch for due in train.evaluate_epochs)
            or any(before < due <= seconds for due in train.evaluate_seconds)
        )

    def check_finite(self) -> None:
        """Raises DivergedError where the device skipped a step."""
        for player in (self.state.discriminator, self.state.generator):
            player.check(self.state.step)

    def finish(self) -> None:
        """Save and, at the end of a budget, do what belongs there; only then the checkpoint is a final one.

        If the process is killed before that, `resume` does what is left.
        """
        self.save(final=False)
        if not self.finished:
            self.describe(f"Interrupted at step {self.state.step}, and saved; what to type next can go on from there.")
            return
        self.picture("final.png")
        self.evaluate_at_the_end()
        self.describe("Trained to its target." if self._reached else "Trained to the end of its budget.")
        self.save(final=True)

    def describe(self, note: str) -> None:
        """The run's README.md."""
        self.run.write_readme(self.config, self.state.step, self.training.epoch(self.state.step), note)

    def _log(self, step: int, epoch: float) -> None:
        self.check_finite()
        seconds = self.seconds()
        former_step, former_seconds = self._logged
        images = (step - former_step) * self.config.variant.critic_steps * self.config.data.batch_size
        line = LogLine(
            step=step,
            epoch=round(epoch, 6),
            seconds=round(seconds, 3),
            images_per_s=round(images / max(seconds - former_seconds, 1e-9), 1),
            losses=self.state.logs.means(),
        )
        self.run.append_metrics(line)
        self.progress.log(line)
        self.state.logs.reset()
        if not self._looked:
            self._looked = True
            for text in find_implausible(self.state, self.config, self.batches):
                self.progress.say(text)
        self._logged = (step, seconds)

    def _share_done(self) -> float:
        """How much of the budget is spent, from 0 to 1."""
        minutes, total = self.config.train.minutes, self.training.total_steps
        share = self.seconds() / (60 * minutes) if minutes is not None else self.state.step / (total or 1)
        return min(1.0, share)


def _fit(session: Session) -> Run:
    """Train until the budget is spent or a signal comes; save; say what to type next.

    Where training diverges, the run goes back if that was asked for.
    """
    run, leads = session.run, session.world.leads
    with interruption() as received:
        if leads:
            session.describe("Training is under way, or was stopped before it could say so.")
        for line in _notes(session):
            session.progress.say(line)
        while True:
            try:
                _train_on(session, received)
                break
            except DivergedError as error:
                if session.world.size > 1:
                    raise
                reason = str(error)  # alone: the error holds all that the step computed
            session = _go_back(session, reason)
    if not session.finished and received.number is not None:
        next_ = to_go_on(run.path, session.config.data.source)
        message = f"interrupted at step {session.state.step}, saved; to go on: {next_}"
        raise Interrupted(message, received.number)
    if received.number is not None:
        raise Interrupted(f"interrupted; {run.path} had come to the end of its budget, and is saved", received.number)
    return run


def _train_on(session: Session, received: Received) -> None:
    """Train until the budget is spent or a signal comes, and save."""
    with session.progress:
        while session.agree(received):
            session.updates.step(session.batches)
            session.after_step()
    session.state.check_alike()
    if session.world.leads:
        session.finish()
    session.world.gather(None)  # until the first has written all


def _go_back(former: Session, reason: str) -> Session:
    """Return a session at the newest checkpoint, or at the start, with half the learning rates. Raises DivergedError.

    What was trained since counts against a budget of minutes. The former session is of no more use.
    """
    run, reporter, step, seconds = former.run, former.progress, former.state.step, former.seconds()
    check_going_back(run, former.config, reason)
    del former.state, former.updates, former.batches  # before others are made beside them
    learning_rates = half_the_rates(former.config)
    config = with_rates(former.config, learning_rates)
    training = replace(former.training, config=config)
    state = TrainingState(config, training.device, training.world)
    latest = run.latest_checkpoint() if run.checkpoints() else None
    if latest is None:
        _inherit(config, state)
    else:
        state.restore(latest)
    state.seconds = seconds
    run.cut_lines(state.step)
    run.append_rollback(Rollback(step=step, reason=reason, to=state.step, learning_rates=learning_rates))
    run.write_config(config)  # after its record, by which `finish_going_back` does it for a run that is stopped here
    reporter.say(f"{reason}: going back to step {state.step}, with half the learning rates")
    session = Session(run, training, state, reporter, former.monitor, former.start_up)
    if latest is not None:  # else a resumed run would take the rates for the user's change
        session.save(final=latest.final, fid=latest.distance)
    return session


def _notes(session: Session) -> list[str]:
    """What there is to say of a run on several processes."""
    size, batch_size = session.world.size, session.config.data.batch_size
    if size == 1:
        return []
    lines = [f"{size} processes: {batch_size // size} of the {batch_size} images of a batch each"]
    if mixing := session.state.objective.mixing:
        lines.append(
            f"note: {', '.join(mixing)}: statistics are taken over {batch_size // size} images and not {batch_size}: "
            "close to the run of one process, but not the same"
        )
    return lines


def _picture_epochs(config: RunConfig, batches_per_epoch: int) -> Callable[[int], bool]:
    """Return whether a picture is due at the end of an epoch; it never depends on the budget, which may grow."""
    if config.train.sample_epochs is not None:
        return set(config.train.sample_epochs).__contains__
    cadence = max(1, round(PICTURE_UPDATES / batches_per_epoch))
    return lambda epoch: epoch % cadence == 0
