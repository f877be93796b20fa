//! The table.

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// At most so many times the reference.
    TimesReference(f64),
    /// Shown beside the others, asked of nobody.
    None,
}

/// One figure.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) number: u32,
    pub(super) what: String,
    pub(super) unit: &'static str,
    /// The value that the target is about.
    pub(super) value: f64,
    /// More about it: another percentile, a total.
    pub(super) note: String,
    pub(super) reference: (&'static str, f64),
    /// The value divided by the reference, where dividing means something.
    pub(super) ratio: Option<f64>,
    pub(super) target: Target,
}

impl Figure {
    fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(most) => Some(self.value <= most),
            Target::AtLeast(least) => Some(self.value >= least),
            Target::TimesReference(most) => self.ratio.map(|ratio| ratio <= most),
            Target::None => None,
        }
    }

    fn cells(&self) -> [String; 8] {
        let target = match self.target {
            Target::AtMost(most) => format!("≤ {most} {}", self.unit),
            Target::AtLeast(least) => format!("≥ {least} {}", self.unit),
            Target::TimesReference(most) => format!("≤ {most} ×"),
            Target::None => String::new(),
        };
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let (name, reference) = self.reference;
        [
            self.number.to_string(),
            self.what.clone(),
            format!("{} {}", short(self.value), self.unit),
            self.note.clone(),
            if name.is_empty() { String::new() } else { format!("{name} {} {}", short(reference), self.unit) },
            self.ratio.filter(|ratio| ratio.is_finite()).map_or_else(String::new, |ratio| format!("{ratio:.2} ×")),
            target,
            verdict.to_owned(),
        ]
    }
}

/// All figures of a run.
pub(super) struct Report {
    figures: Vec<Figure>,
    load: String,
}

impl Report {
    pub(super) fn begin() -> Self {
        Self { figures: Vec::new(), load: load() }
    }

    pub(super) fn add(&mut self, figure: Figure) {
        eprintln!("{}", figure.cells().join("  "));
        self.figures.push(figure);
    }

    pub(super) fn print(mut self) {
        self.figures.sort_by_key(|figure| figure.number);
        let head = ["#", "what", "measured", "", "reference", "ratio", "target", ""].map(str::to_owned);
        let rows: Vec<[String; 8]> = std::iter::once(head).chain(self.figures.iter().map(Figure::cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..8).map(width).collect();
        println!("\n{}", machine(&self.load));
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn machine(load_before: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy().into_owned();
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model);
    format!("{cores} cores ({model}), Linux {kernel}, load {load_before} before, {} after", load())
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
