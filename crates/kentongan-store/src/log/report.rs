//! What was found when a log was opened.

/// What opening a log came to. Log it: a cut tail or a damaged witness should be looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Rooms that were found.
    pub rooms: usize,
    /// Records in their windows.
    pub records: u64,
    /// Bytes of the segments that were read.
    pub bytes: u64,
    /// What was cut off at the end: a write that was not acknowledged when the store stopped.
    pub cut: Option<Cut>,
    /// Whether the file `head` bore witness to the end of the log.
    pub witness: WitnessReport,
    /// All rooms began new epochs: records had been acknowledged before they were synced, and the store was not closed.
    /// Nobody can know whether some were lost.
    pub has_new_epochs: bool,
}

/// The tail that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// From which byte on.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What the file `head` was worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WitnessReport {
    /// It agrees with the log; or there is no log yet.
    #[default]
    Agrees,
    /// It is not there. Should acknowledged records at the very end be gone with it, nothing shows that.
    Missing,
    /// It is damaged. The same holds.
    Damaged,
}

impl OpenReport {
    /// Whether there is nothing to look into.
    pub fn is_clean(&self) -> bool {
        self.cut.is_none() && self.witness == WitnessReport::Agrees && !self.has_new_epochs
    }
}
