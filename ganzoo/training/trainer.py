"""The training loop and its two entry points: a new run, and a resumed run.

Everything is a function of the configuration and `(seed, step)`: on one machine's CPU, training to step K and resuming
to step N gives the same bits as training to step N.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
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
from ganzoo.training.callbacks import Callback, Callbacks, match_loggers
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

PICTURE_UPDATES = 1000  # updates between sample images by default, rounded to whole epochs


def train(
    variant: str | Variant | None = None,
    dataset: Any = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    world: World = ALONE,
    **options: Unpack[Options],
) -> Run:
    """Train a variant into a new run directory, and return the run.

    Args:
        variant: a registered name (`ganzoo list variants`) or a `Variant`; None if `config` names one.
        dataset: a source (`auto`, `mnist`, `mnist-5k`, a path, or another of `ganzoo list datasets`), or images in
            memory (see `ganzoo.data.from_object`); None for `auto`.
        out: the run's directory, which must not exist; None for a new one under `runs/`.
        progress: whether to show progress on stderr.
        callbacks: objects that are called during training (see `ganzoo.Callback`).
        world: for a run on several processes, the value of `ganzoo.distributed.joined` in this process.
        options: the options of `ganzoo.training.options.Options`, which are the flags of `ganzoo train`; at most one of
            the budgets `epochs`, `steps` and `minutes` (5 minutes by default). Also parts that replace those of the
            variant (`ganzoo.zoo.handing_over.VariantParts`), by name or as a class, function or module:
            `generator=MyGenerator`.

    Raises: the errors of `ganzoo.errors`; `Interrupted`, a KeyboardInterrupt, after the run was saved.
    """
    config, log = configure(variant, dataset, **options), match_loggers(options.get("log") or ())
    return start(config, dataset, out=out, progress=progress, callbacks=callbacks, log=log, world=world)


def start(
    config: RunConfig,
    dataset: Any = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    log: Sequence[str] = (),
    world: World = ALONE,
) -> Run:
    """Train a configuration into a new run directory; `dataset` is read only if it is images in memory."""
    before = processors.read()
    training = prepare(config, dataset, world=world)
    reporter = Progress(enabled=progress and world.leads)
    called = _open_callbacks(callbacks, config.train.log, log, reporter, world)
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
        )  # before the run's directory is created, because building may fail
        check_range(state.objective.generator, training.config)
        inherited = _inherit(training.config, state)
        began = time.monotonic()
        monitor = _monitor(training)
        judging = time.monotonic() - began
        _check_alike(training, state)
        run = _create_on_rank_0(world, lambda: Run.create(training.config, out, device_name(training.device)))
        needs = describe_needs(training.config.variant)
        note = needs and f"note: {needs}"
        for text in filter(None, (f"run: {run.path}", *training.lines, inherited, line, horizon, note)):
            reporter.say(text)
        with _lock(run, world):
            start_up = time.monotonic() - before.time - judging
            return _fit(Session(run, training, state, reporter, monitor, start_up, called))


def resume(
    run: str | Path | Run,
    *,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    threads: int | None = None,
    dataset: Any = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    log: str | Sequence[str] | None = None,
    world: World = ALONE,
    **parts: Unpack[VariantParts],
) -> Run:
    """Continue a run in place from its newest checkpoint, bit-exactly on the CPU that it was trained on.

    Args:
        epochs, steps: the run's new total; minutes: additional time; none of them: the rest of its budget.
        threads: the number of CPU threads from now on; a different number ends exactness.
        dataset: the same images, for a run that was trained on images in memory.
        callbacks, world: as in `train`; each process reads the checkpoint.
        log: names of loggers to use in addition to the recorded ones of ganzoo; a plug-in's is only used if named here.
        parts: the parts that were passed to `train` as objects, for a process that does not have them.

    Raises: as `train`; FileError for a damaged checkpoint or for data that have changed.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    take_again(run.config.variant, parts)
    reporter = Progress(enabled=progress and world.leads)
    with _lock(run, world):
        budget = {"epochs": epochs, "steps": steps, "minutes": minutes}
        return _resume(run, budget, threads, dataset, reporter, callbacks, match_loggers(log or ()), world)


def _resume(
    run: Run,
    budget: dict[str, float | None],
    threads: int | None,
    dataset: Any,
    reporter: Progress,
    callbacks: Sequence[Callback],
    log: Sequence[str],
    world: World,
) -> Run:
    before = processors.read()
    if world.leads:
        checkpoint.restore(run.checkpoints_directory)
        run.sweep()
    world.gather(None)  # wait for rank 0
    latest = run.latest_checkpoint()
    saved = latest.state()
    former = finish_going_back(run, reporter.say, world.leads)
    world.gather(None)
    edited, edits = take_edits(run, former)
    training = prepare(with_budget(edited, budget, float(saved["seconds"])), dataset, resumed=True, world=world)
    training = keep_compute(training, former.compute, threads, before)
    called = _open_callbacks(callbacks, training.config.train.log, log, reporter, world)
    lost = lost_exactness(run, training, int(saved["processes"]))
    changed = [*changes(former, training.config), *edits, *lost]
    for line in [*changed, *kept_horizons(former, training)]:
        reporter.say(line)
    with torch_settings(training.config):
        state = TrainingState(training.config, training.device, world)
        state.restore(latest)
        left = not latest.final and state.step == training.total_steps  # the final image and evaluation are missing
        if not left and (latest.final or any(budget.values())):
            training.check_budget(state.step, state.seconds)
        monitor = _monitor(training)
        _check_alike(training, state)
        if world.leads:
            run.cut_lines(state.step)
            run.write_config(training.config)
        reporter.say(f"run: {run.path}, from step {state.step}")
        session = Session(run, training, state, reporter, monitor, called=called)
        if not latest.final:
            session.recall_evaluation()
        if world.leads and run.lines_missing():  # they start again, so the checkpoint must not refer to the lost ones
            session.save(final=latest.final, fid=latest.distance)
        return _fit(session)


def _inherit(config: RunConfig, state: TrainingState) -> str | None:
    """Load the weights that a new run starts from, and return a line that reports it; None without such weights."""
    start, frozen = config.train.start_from, config.train.freeze_discriminator
    if start is None:
        if frozen:
            raise UsageError("train.freeze_discriminator freezes weights of another run: name that run with --from RUN")
        return None
    line = load_start(state, open_start(start))
    return f"{line}; frozen: {', '.join(state.frozen)}" if frozen else line


def _monitor(training: Training) -> Monitor | None:
    """Return the monitor that evaluates the run during training; None if no evaluation was requested."""
    train = training.config.train
    asked = train.evaluate_every or train.evaluate_epochs or train.evaluate_seconds
    if train.target_fid is not None and not asked:
        raise UsageError("target_fid needs evaluations during training: add --evaluate-every 1000")
    return Monitor(training.dataset, training.config) if asked and training.world.leads else None


def _create_on_rank_0(world: World, make: Callable[[], Run]) -> Run:
    """Create the run on rank 0, and return it on all ranks."""
    (made, *_) = world.gather(make() if world.leads else None)
    assert made is not None
    return made


def _open_callbacks(
    callbacks: Sequence[Callback], recorded: Sequence[str], asked: Sequence[str], reporter: Progress, world: World
) -> Callbacks:
    """Return the callbacks and loggers; none on other ranks than 0. A failure is reported without a display too."""
    say = reporter.say if reporter.enabled else partial(warnings.warn, stacklevel=2)
    opened = Callbacks(callbacks if world.leads else (), say)
    if world.leads:
        opened.add_loggers(recorded, asked)
    return opened


def _lock(run: Run, world: World) -> AbstractContextManager[None]:
    """Lock the run; with several processes, rank 0 holds the lock for all."""
    return run.lock() if world.leads else nullcontext()


def _check_alike(training: Training, state: TrainingState) -> None:
    """Raise MachineError if the processes have different configurations or weights."""
    own = training.config.to_json()
    for rank, text in enumerate(training.world.gather(own)):
        if text != own:
            line, *_ = changes(RunConfig.from_json(text), training.config)
            raise MachineError(f"process {rank} and process {training.world.rank} differ: {line.partition(': ')[2]}")
    state.check_alike()


class Session:
    """One training session of a run: the steps, and everything that is due after a step."""

    def __init__(
        self,
        run: Run,
        training: Training,
        state: TrainingState,
        progress: Progress,
        monitor: Monitor | None,
        start_up: float | None = None,
        called: Callbacks | None = None,
    ) -> None:
        """Start at the state's step; `start_up` is the seconds of start-up so far, None for a resumed run."""
        self.run = run
        self.training = training
        self.config = training.config
        self.state = state
        self.world = training.world
        self.progress = progress
        self.monitor = monitor
        self.start_up = start_up
        self.callbacks = called or Callbacks()
        self.batches = training.batches(state.objective)
        self.updates = Updates(state, self.config)
        self._picture_epochs = _picture_epochs(self.config, training.loader.batches_per_epoch)
        self._started = time.monotonic() - state.seconds
        self._logged = (state.step, state.seconds)
        self._seen = state.seconds  # training time after the last step
        compute = self.config.chosen
        alone = compute.device == "cpu" and self.world.size == 1
        source = self.config.data.source
        self.pace = Pace(run.path, compute.threads, alone=alone, step=state.step, seconds=state.seconds, source=source)
        self._distance: tuple[int, float] | None = None  # step and FID of the last evaluation
        self._looked = False  # whether the networks were checked, which happens at the first log line
        self._reached = False  # whether the target FID was reached
        self.finished = False  # whether the budget was spent when the processes last agreed

    def agree(self, received: Received) -> bool:
        """Return whether to take another step, which all processes decide together; record the reason to stop.

        They stop if the budget is spent by the clock of rank 0, or after a signal to any of them.
        """
        failed = self.callbacks.failure is not None
        due = self.world.leads and (self.is_over() or failed)  # only the clock of rank 0 leaves out evaluations
        over, number = self.world.greatest(due, received.number or 0)
        self.finished, received.number = bool(over) and not failed, int(number) or None
        return not over and not number

    def is_over(self) -> bool:
        """Return whether the budget is spent or the target is reached."""
        minutes, total = self.config.train.minutes, self.training.total_steps
        if self._reached:
            return True
        if minutes is not None:
            return self.seconds() >= 60 * minutes
        return total is not None and self.state.step >= total

    def seconds(self) -> float:
        """Return the time spent training this run, in this session and earlier ones."""
        return time.monotonic() - self._started

    def after_step(self) -> None:
        """Compare the processes if due; on rank 0 also report, log, draw images, evaluate and save checkpoints."""
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
        if step % train.checkpoint_every == 0 and not self.is_over():  # at the end a final one follows
            self.save(final=False)

    def save(self, *, final: bool, fid: float | None = None) -> None:
        """Save a checkpoint; a `final` one, at the end of a budget, is kept until the next final one.

        `fid` is its FID if it was evaluated; for the last evaluation of this session it is already known.
        """
        if self._distance is not None and self._distance[0] == self.state.step:
            fid = self._distance[1]
        self.check_finite()
        self.run.check_present()
        state, directory = self.state, self.run.checkpoints_directory
        saved = checkpoint.save(
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
        self.callbacks.call(lambda callback: callback.on_checkpoint(self.run, saved))

    def picture(self, name: str) -> None:
        """Save an image of samples from the averaged generator on fixed latents."""
        self.run.check_present()
        generator = as_generator(self.state.averaged_generator, self.config, self.training.device)
        path = self.run.samples / name
        save_png(path, preview(generator, self.config.train.seed))
        self.callbacks.call(lambda callback: callback.on_picture(self.run, path, self.state.step))

    def evaluate(self, step: int, epoch: float) -> bool:
        """Add a line to `evaluations.jsonl`, warn of lost classes, and return whether it is the best so far.

        The time of an evaluation does not count as training time, nor against a budget of minutes.
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
        self._started += time.monotonic() - began  # before the checkpoint, which records the training time
        self.callbacks.call(lambda callback: callback.on_evaluation(self.run, line))
        return all(line.figures["fid"] < other.figures["fid"] for other in former)

    def evaluate_at_the_end(self) -> None:
        """Do the last evaluation unless the last step was already evaluated."""
        if self.monitor is not None and (self._distance is None or self._distance[0] != self.state.step):
            self.evaluate(self.state.step, self.training.epoch(self.state.step))

    def recall_evaluation(self) -> None:
        """Reuse an evaluation of this step by a process that was killed before it could save."""
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
        """Raise DivergedError if the device skipped a step."""
        for player in (self.state.discriminator, self.state.generator):
            player.check(self.state.step)

    def finish(self) -> None:
        """Save and, at the end of a budget, add the final image, the evaluation and a final checkpoint.

        If the process is killed before that, `resume` does the rest.
        """
        self.save(final=False)
        if not self.finished:
            what = "Interrupted" if self.callbacks.failure is None else "Stopped by a callback"
            self.describe(f"{what} at step {self.state.step} and saved; resume (see below) continues from there.")
            return
        self.picture("final.png")
        self.evaluate_at_the_end()
        self.describe("Trained to its target." if self._reached else "Trained to the end of its budget.")
        self.save(final=True)

    def describe(self, note: str) -> None:
        """Write the run's README.md."""
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
        self.callbacks.call(lambda callback: callback.on_log(self.run, line))

    def _share_done(self) -> float:
        """Return the share of the budget that is spent, from 0 to 1."""
        minutes, total = self.config.train.minutes, self.training.total_steps
        share = self.seconds() / (60 * minutes) if minutes is not None else self.state.step / (total or 1)
        return min(1.0, share)


def _fit(session: Session) -> Run:
    """Train until the budget is spent or a signal arrives, and save.

    If training diverges, go back to the last checkpoint if that was requested.
    """
    run, leads = session.run, session.world.leads
    with interruption() as received, session.callbacks.ending(run):
        if leads:
            session.describe("Training is in progress, or was killed before it could update this file.")
        for line in _describe_processes(session):
            session.progress.say(line)
        while True:
            try:
                _train_on(session, received)
                break
            except DivergedError as error:
                if session.world.size > 1:
                    raise
                reason = str(error)  # only the text, because the error keeps all tensors of the step alive
            session = _go_back(session, reason)
    failure = session.callbacks.failure
    if failure is not None and received.number is None:
        failure.add_note(f"a callback stopped training at step {session.state.step}; {run.path} is saved")
        raise failure
    if not session.finished and received.number is not None:
        next_ = to_go_on(run.path, session.config.data.source)
        message = f"interrupted at step {session.state.step}, saved; to continue: {next_}"
        raise Interrupted(message, received.number) from failure
    if received.number is not None:
        raise Interrupted(f"interrupted; {run.path} had reached the end of its budget, and is saved", received.number)
    return run


def _train_on(session: Session, received: Received) -> None:
    """Train until the budget is spent or a signal arrives, and save."""
    with session.progress:
        while session.agree(received):
            session.updates.step(session.batches)
            session.after_step()
    session.state.check_alike()
    if session.world.leads:
        session.finish()
    session.world.gather(None)  # wait until rank 0 has written everything


def _go_back(former: Session, reason: str) -> Session:
    """Return a session at the newest checkpoint, or at the start, with half the learning rates. Raises DivergedError.

    The discarded training time counts against a budget of minutes. The session `former` can no longer be used.
    """
    run, reporter, step, seconds = former.run, former.progress, former.state.step, former.seconds()
    check_going_back(run, former.config, reason)
    del former.state, former.updates, former.batches  # free the memory before the new ones are created
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
    run.write_config(config)  # after its record: if the process is killed here, `finish_going_back` completes it
    reporter.say(f"{reason}: going back to step {state.step}, with half the learning rates")
    session = Session(run, training, state, reporter, former.monitor, former.start_up, former.callbacks)
    if latest is not None:  # otherwise a resumed run would treat the new rates as an edit by the user
        session.save(final=latest.final, fid=latest.distance)
    return session


def _describe_processes(session: Session) -> list[str]:
    """Return the lines to print for a run on several processes."""
    size, batch_size = session.world.size, session.config.data.batch_size
    if size == 1:
        return []
    lines = [f"{size} processes: each uses {batch_size // size} of the {batch_size} images of a batch"]
    if mixing := session.state.objective.mixing:
        lines.append(
            f"note: {', '.join(mixing)}: statistics are computed over {batch_size // size} images and not "
            f"{batch_size}: the result is close to that of one process, but not the same"
        )
    return lines


def _picture_epochs(config: RunConfig, batches_per_epoch: int) -> Callable[[int], bool]:
    """Return whether an image is due after an epoch, as a function; it ignores the budget, which may grow."""
    if config.train.sample_epochs is not None:
        return set(config.train.sample_epochs).__contains__
    cadence = max(1, round(PICTURE_UPDATES / batches_per_epoch))
    return lambda epoch: epoch % cadence == 0
