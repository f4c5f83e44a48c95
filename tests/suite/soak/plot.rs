//! What was measured over time: a line of the table, a small picture, and
//! whether it levels off.

use std::fmt::Write as _;
use std::path::Path;

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub hour: u32,
    pub resident_kb: u64,
    pub descriptors: u64,
    pub disk_kb: u64,
    /// Seq of the last event.
    pub events: u64,
    /// Events that the receiver has.
    pub received: u64,
}

impl Sample {
    pub const HEAD: &str = "| Hour | resident | descriptors | on disk | events | received |\n\
                            |---|---|---|---|---|---|";
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sample { hour, descriptors, events, received, .. } = self;
        let (resident, disk) = (megabytes(self.resident_kb), megabytes(self.disk_kb));
        write!(
            f,
            "| {hour} | {resident:.1} MB | {descriptors} | {disk:.1} MB | {events} | {received} |"
        )
    }
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

type Series = (&'static str, fn(&Sample) -> f64, &'static str);

const SERIES: [Series; 3] = [
    ("resident memory, MB", |sample| megabytes(sample.resident_kb), "#0969da"),
    ("state directory on disk, MB", |sample| megabytes(sample.disk_kb), "#bf3989"),
    ("open descriptors", |sample| sample.descriptors as f64, "#1a7f37"),
];

const WIDTH: f64 = 640.0;
const BAND: f64 = 110.0;
const LEFT: f64 = 46.0;

/// Draws `target/soak.svg`: each series in a band of its own, from zero.
pub fn draw(samples: &[Sample]) {
    let height = BAND * SERIES.len() as f64 + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#57606a\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (number, series) in SERIES.iter().enumerate() {
        band(&mut svg, samples, series, BAND * number as f64);
    }
    let hours = samples.last().map_or(0, |sample| sample.hour);
    for day in 0..=hours / 24 {
        let x = across(day * 24, hours);
        let y = height - 8.0;
        writeln!(svg, "<text x=\"{x:.0}\" y=\"{y}\" text-anchor=\"middle\">day {day}</text>")
            .expect("a string takes all");
    }
    svg.push_str("</svg>\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak.svg");
    crate::harness::write(&path, svg);
    println!("the plot is in {}", path.display());
}

fn band(svg: &mut String, samples: &[Sample], (name, value, colour): &Series, top: f64) {
    let highest = samples.iter().map(value).fold(1.0, f64::max);
    let hours = samples.last().map_or(1, |sample| sample.hour);
    let (floor, room) = (top + BAND - 6.0, BAND - 30.0);
    let mut points = String::new();
    for sample in samples {
        let (x, y) = (across(sample.hour, hours), floor - room * value(sample) / highest);
        write!(points, "{x:.0},{y:.1} ").expect("a string takes all");
    }
    let (right, ceiling) = (WIDTH - 10.0, floor - room);
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\" fill=\"{colour}\">{name}</text>\n\
         <path d=\"M{LEFT},{ceiling:.0}H{right}M{LEFT},{floor:.0}H{right}\" stroke=\"#d0d7de\"/>\n\
         <text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"end\">{highest:.0}</text>\n\
         <text x=\"{x:.0}\" y=\"{floor:.0}\" text-anchor=\"end\">0</text>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
        top + 14.0,
        points.trim_end(),
        x = LEFT - 6.0,
        y = ceiling + 4.0,
    )
    .expect("a string takes all");
}

fn across(hour: u32, hours: u32) -> f64 {
    LEFT + (WIDTH - 10.0 - LEFT) * f64::from(hour) / f64::from(hours.max(1))
}

/// The last two days are no higher than the two before them, but for a little.
pub fn assert_level(samples: &[Sample]) {
    let hours = samples.last().map_or(0, |sample| sample.hour);
    for (name, value, _) in &SERIES {
        let highest = |from: u32, to: u32| {
            let within = samples.iter().filter(|sample| (from..to).contains(&sample.hour));
            within.map(value).fold(0.0, f64::max)
        };
        let (before, last) = (highest(hours / 3, hours * 2 / 3), highest(hours * 2 / 3, hours + 1));
        assert!(last <= before * 1.25 + 4.0, "{name}: {before:.1}, then {last:.1}");
    }
}
