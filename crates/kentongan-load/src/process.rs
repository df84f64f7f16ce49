//! What the kernel says of a process: CPU time, memory, threads, context switches (Linux, `/proc`).
//!
//! Owns reading and parsing; the texts are arguments of the parsers, so that they can be tested. User and system time
//! come from `stat` (in ticks of 10 ms); the sum is taken from `schedstat` of each thread where the kernel has it, which
//! is exact to the nanosecond, and from `stat` otherwise.

use std::{fs, path::Path};

/// A process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// CPU time in user mode, in microseconds, 10 ms granular.
    pub user_us: u64,
    /// CPU time in the kernel, in microseconds, 10 ms granular.
    pub system_us: u64,
    /// CPU time of all threads in nanoseconds.
    pub cpu_ns: u64,
    /// Anonymous memory that is resident, in bytes: heap and stacks, without mapped files.
    pub anonymous_bytes: u64,
    /// Number of threads.
    pub threads: u64,
    /// Times that a thread went to sleep by itself.
    pub voluntary_switches: u64,
    /// Times that a thread was made to give way.
    pub involuntary_switches: u64,
}

impl Sample {
    /// The process now; `None` if there is none, or it may not be looked at.
    pub fn take(pid: u32) -> Option<Self> {
        let root = Path::new("/proc").join(pid.to_string());
        let stat = fs::read_to_string(root.join("stat")).ok()?;
        let (user_us, system_us) = stat_times(&stat)?;
        let status = fs::read_to_string(root.join("status")).ok()?;
        let mut sample = Self {
            user_us,
            system_us,
            anonymous_bytes: anonymous(&root, &status),
            threads: field(&status, "Threads").unwrap_or(0),
            ..Self::default()
        };
        for task in fs::read_dir(root.join("task")).ok()?.flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            sample.cpu_ns += schedstat_run(&read("schedstat")).unwrap_or(0);
            let status = read("status");
            sample.voluntary_switches += field(&status, "voluntary_ctxt_switches").unwrap_or(0);
            sample.involuntary_switches +=
                field(&status, "nonvoluntary_ctxt_switches").unwrap_or(0);
        }
        if sample.cpu_ns == 0 {
            sample.cpu_ns = (user_us + system_us) * 1000;
        }
        Some(sample)
    }

    /// What was used since `earlier`. Memory and threads are those of `self`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            voluntary_switches: self
                .voluntary_switches
                .saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(earlier.involuntary_switches),
            ..*self
        }
    }
}

/// `smaps_rollup` is exact but needs the right to trace; `RssAnon` may lag by some pages per thread.
fn anonymous(root: &Path, status: &str) -> u64 {
    let rollup = fs::read_to_string(root.join("smaps_rollup")).unwrap_or_default();
    let kib = field(&rollup, "Anonymous").or_else(|| field(status, "RssAnon"));
    kib.unwrap_or(0) * 1024
}

/// utime and stime of `/proc/PID/stat` in microseconds. The command's name before them may hold blanks and parentheses.
fn stat_times(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? * US_PER_TICK, ticks()? * US_PER_TICK))
}

/// The first number of `schedstat`: nanoseconds on a CPU.
fn schedstat_run(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// The number after `name:` in a file of such lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then_some(value)
    })?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// `USER_HZ` is 100 on every architecture that we know of, whatever the kernel's own HZ.
const US_PER_TICK: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_texts_of_the_kernel() {
        let stat =
            "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 1234 0 0 0 17 29 0 0 20 0 3 0 100 1 1";
        assert_eq!(stat_times(stat), Some((170_000, 290_000)));
        assert_eq!(stat_times("4242"), None);
        assert_eq!(schedstat_run("285624 1870053 1\n"), Some(285_624));
        assert_eq!(schedstat_run(""), None);
        let status =
            "Name:\tx\nRssAnon:\t     120 kB\nThreads:\t3\nnonvoluntary_ctxt_switches:\t5\n";
        assert_eq!(field(status, "RssAnon"), Some(120));
        assert_eq!(field(status, "Threads"), Some(3));
        assert_eq!(field(status, "voluntary_ctxt_switches"), None);
    }

    #[test]
    fn sees_this_process() {
        let sample = Sample::take(std::process::id()).unwrap();
        assert!(sample.anonymous_bytes > 0 && sample.threads > 0 && sample.cpu_ns > 0);
        assert_eq!(Sample::take(u32::MAX), None);
    }

    #[test]
    fn differences() {
        let earlier = Sample {
            cpu_ns: 5,
            threads: 1,
            ..Sample::default()
        };
        let later = Sample {
            cpu_ns: 7,
            threads: 2,
            ..Sample::default()
        };
        let used = later.since(&earlier);
        assert_eq!((used.cpu_ns, used.threads), (2, 2));
    }
}
