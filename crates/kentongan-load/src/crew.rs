//! The threads of a run, and the main thread's part: it moves the phases on and looks at the server.

use std::{
    cell::Cell,
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    control::{Control, Phase},
    error::LoadError,
    options::Options,
    process::Sample,
    report::Usage,
    target::Target,
    worker::{self, Driver},
};

/// A run under way.
pub(crate) struct Crew<D> {
    pub(crate) control: Arc<Control>,
    threads: Vec<JoinHandle<Result<D, LoadError>>>,
    progress: Progress,
    pid: Option<u32>,
}

/// What was measured around the scenario.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) server: Option<Usage>,
    pub(crate) client: Usage,
}

/// One line to standard error about once a second; overwritten in place on a terminal.
#[derive(Debug)]
struct Progress {
    begun: Instant,
    printed: Instant,
    is_terminal: bool,
    open_line: bool,
}

/// CPU time of server and client at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    pub(crate) server: Option<Sample>,
    client: Sample,
}

impl<D: Driver> Crew<D> {
    /// Starts the workers; connection `i` belongs to worker `i` modulo their number.
    pub(crate) fn start(
        options: &Options,
        target: &Target,
        handshakes_max: usize,
        mut make: impl FnMut(usize, Arc<Control>) -> D,
    ) -> Result<Self, LoadError> {
        let control = Arc::new(Control::default());
        let workers = usize::from(options.workers).min(options.connections());
        let mut threads = Vec::new();
        for worker in 0..workers {
            let indexes = (worker..options.connections()).step_by(workers);
            let driver = make(worker, Arc::clone(&control));
            let (control, target) = (Arc::clone(&control), target.clone());
            let body = move || {
                let outcome = worker::run(
                    indexes,
                    handshakes_max / workers + 1,
                    target,
                    &control,
                    driver,
                );
                if outcome.is_err() {
                    control.failed.fetch_add(1, Release);
                }
                outcome
            };
            let thread = thread::Builder::new()
                .name(format!("load-{worker}"))
                .spawn(body)
                .map_err(LoadError::io("cannot start a thread"))?;
            threads.push(thread);
        }
        let now = Instant::now();
        Ok(Self {
            control,
            threads,
            progress: Progress {
                begun: now,
                printed: now,
                is_terminal: std::io::stderr().is_terminal(),
                open_line: false,
            },
            pid: options.pid,
        })
    }

    /// Waits until so many connections are ready.
    ///
    /// # Errors
    /// They do not come up, with the reason that a worker found.
    pub(crate) fn wait_ready(mut self, wanted: usize) -> Result<Self, LoadError> {
        let control = Arc::clone(&self.control);
        let progress = &mut self.progress;
        let mut tick = || {
            progress.line(|| format!("{} of {wanted} connections", control.ready.load(Relaxed)));
        };
        match self.control.wait_ready(wanted, &mut tick) {
            Ok(true) => Ok(self),
            Ok(false) => Err(self
                .stop()
                .err()
                .unwrap_or_else(|| LoadError::Refused("a worker ended early".into()))),
            Err(error) => Err(self.stop().err().unwrap_or(error)),
        }
    }

    /// Waits, shorter if `enough` says so.
    pub(crate) fn wait(&mut self, duration: Duration, what: &str, enough: impl Fn() -> bool) {
        let control = Arc::clone(&self.control);
        let progress = &mut self.progress;
        let mut last = (Instant::now(), control.progress.load(Relaxed));
        let mut tick = || {
            progress.line(|| {
                let now = (Instant::now(), control.progress.load(Relaxed));
                let rate = (now.1 - last.1) as f64 / (now.0 - last.0).as_secs_f64().max(1e-3);
                last = now;
                format!("{what}: {rate:.0}/s")
            });
        };
        self.control.wait(duration, &mut tick, enough);
    }

    /// Warm-up, the measured time, and then until everything has arrived that is under way.
    pub(crate) fn measure(&mut self, options: &Options) -> Result<Window, LoadError> {
        self.control.enter(Phase::WarmUp);
        self.wait(options.warm_up, "warm-up", || false);
        let before = self.moment()?;
        self.control.enter(Phase::Measuring);
        self.wait(options.duration(), "measuring", || false);
        let window = self.moment()?.since(&before);
        self.drain();
        Ok(window)
    }

    /// Until everything has arrived that is under way.
    pub(crate) fn drain(&mut self) {
        self.control.enter(Phase::Draining);
        let control = Arc::clone(&self.control);
        let workers = self.threads.len();
        let last = Cell::new((0, Instant::now()));
        self.wait(DRAIN_MAX, "waiting for the rest", || {
            let progress = control.progress.load(Relaxed);
            if progress != last.get().0 {
                last.set((progress, Instant::now()));
            }
            control.drained.load(Acquire) >= workers || last.get().1.elapsed() > DRAIN_QUIET
        });
        // What comes twice comes now.
        self.wait(SETTLE, "settling", || false);
    }

    /// Looks at server and client.
    ///
    /// # Errors
    /// [`LoadError::NoProcess`].
    pub(crate) fn moment(&self) -> Result<Moment, LoadError> {
        moment(self.pid)
    }

    /// Ends the workers.
    ///
    /// # Errors
    /// What made one of them end by itself.
    pub(crate) fn stop(mut self) -> Result<Vec<D>, LoadError> {
        self.control.enter(Phase::Stop);
        self.progress.end();
        let join = |thread: JoinHandle<Result<D, LoadError>>| match thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.threads.into_iter().map(join).collect()
    }
}

/// Looks at server and client.
///
/// # Errors
/// [`LoadError::NoProcess`].
pub(crate) fn moment(pid: Option<u32>) -> Result<Moment, LoadError> {
    let look = |pid| Sample::take(pid).ok_or(LoadError::NoProcess(pid));
    Ok(Moment {
        at: Instant::now(),
        server: pid.map(look).transpose()?,
        client: look(std::process::id())?,
    })
}

impl Moment {
    pub(crate) fn since(&self, before: &Self) -> Window {
        Window {
            seconds: (self.at - before.at).as_secs_f64(),
            server: self
                .server
                .zip(before.server)
                .map(|(after, before)| Usage::between(&before, &after)),
            client: Usage::between(&before.client, &self.client),
        }
    }
}

impl Progress {
    fn line(&mut self, text: impl FnOnce() -> String) {
        let every = if self.is_terminal { 1 } else { 5 };
        if self.printed.elapsed() < Duration::from_secs(every) {
            return;
        }
        self.printed = Instant::now();
        let line = format!("[{:>4} s] {}", self.begun.elapsed().as_secs(), text());
        // A closed standard error is no reason to stop.
        let _ = if self.is_terminal {
            self.open_line = true;
            write!(std::io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(std::io::stderr(), "{line}")
        };
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.open_line) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// How long arrivals are waited for after the last message.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// When nothing has come for so long, nothing more will.
const DRAIN_QUIET: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_millis(300);
