//! What a piece of work costs: wall and CPU time, memory, bytes written, and how
//! checks fare meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use super::asker::{Asker, Latencies};

/// Threads that only measure, or answer those who measure.
const ASIDE: [&str; 3] = ["asker", "bare", "query"];

/// The cost of one piece of work.
pub struct Cost {
    pub wall: Duration,
    /// Without the threads that ask and answer checks meanwhile.
    pub cpu: Duration,
    /// The highest memory meanwhile, above what it was before, in megabytes.
    pub peak: u64,
    /// Bytes that went to the disk, in megabytes.
    pub written: u64,
    latencies: Option<Latencies>,
}

impl Cost {
    /// One line of the result.
    pub fn print(&self, what: &str) {
        let Cost { wall, cpu, peak, written, .. } = self;
        let (wall, cpu) = (wall.as_secs_f64(), cpu.as_secs_f64());
        println!(
            "{what:<34} {wall:>8.3} s wall {cpu:>8.3} s CPU {peak:>6} MB above {written:>6} MB written"
        );
        if let Some(latencies) = &self.latencies {
            println!("{:<34} {latencies}", "  checks meanwhile");
        }
    }
}

/// Does it, with somebody asking meanwhile or not.
pub fn cost<T>(asker: Option<&Asker>, work: impl FnOnce() -> T) -> (Cost, T) {
    if let Some(asker) = asker {
        asker.take();
    }
    let resting = megabytes("VmRSS");
    reset_peak();
    let (wall, before, written) = (Instant::now(), cpu(), written());
    let value = work();
    let (wall, cpu) = (wall.elapsed(), cpu().saturating_sub(before));
    let cost = Cost {
        wall,
        cpu,
        peak: megabytes("VmHWM").saturating_sub(resting),
        written: (self::written() - written) >> 20,
        latencies: asker.map(Asker::take),
    };
    (cost, value)
}

/// CPU time of this process so far, without the threads aside.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let all = Duration::from_millis((ticks() + ticks()) * 10);
    all.saturating_sub(aside())
}

/// CPU time of this thread so far.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of the threads aside.
pub fn aside() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).ok();
        let name = read("comm")?;
        let is_aside = ASIDE.contains(&name.trim());
        is_aside.then(|| read("schedstat")?.split_whitespace().next()?.parse::<u64>().ok())?
    });
    Duration::from_nanos(nanos.sum())
}

/// `VmRSS` or `VmHWM` of this process.
pub fn megabytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn reset_peak() {
    // Refused in some containers; the peak then covers the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Size and last change of every file of a folder: equal when nothing was written.
pub fn state_of(folder: &Path) -> Vec<(std::path::PathBuf, u64, Option<std::time::SystemTime>)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .flat_map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => state_of(&entry.path()),
            Ok(meta) => vec![(entry.path(), meta.len(), meta.modified().ok())],
            Err(_) => Vec::new(),
        })
        .collect();
    files.sort();
    files
}

/// The middle and the slowest hundredth.
pub fn p50_p99(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    (at(50), at(99))
}

/// Cores, kernel load and date, since others may use the machine too.
pub fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {}, load {}", model.unwrap_or("unknown processor"), load.join(" "))
}
