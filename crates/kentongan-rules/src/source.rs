//! Files as texts: the reader that the caller gives, and from a place in a text to line, column and caret.
//! Reading itself happens elsewhere; this crate only ever sees what [`Files`] hands out.

use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use crate::diagnostic::{Code, Diagnostic, visible};
use crate::limits::{DIAGNOSTICS_MAX, FILE_BYTES_MAX};

/// Gives the texts of files. Paths are relative, with `/`, and never contain `..`.
pub trait Files {
    /// The whole text of a file.
    ///
    /// # Errors
    /// Says why there is no text. A file over [`FILE_BYTES_MAX`] need not be read to the end.
    fn read(&self, path: &str) -> Result<String, ReadError>;
}

/// Why a file has no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// Over [`FILE_BYTES_MAX`].
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// What the system said.
    #[error("{0}")]
    Other(String),
}

impl ReadError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLarge => "too_large",
            Self::NotText => "not_text",
            Self::Other(_) => "other",
        }
    }
}

/// Files in memory: path to text.
impl Files for BTreeMap<String, String> {
    fn read(&self, path: &str) -> Result<String, ReadError> {
        self.get(path).cloned().ok_or(ReadError::Missing)
    }
}

/// Characters of a line that are shown before the place, and at all.
const LINE_BEFORE_MAX: usize = 120;
const LINE_MAX: usize = 200;

/// A value with the place in the text that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

/// A text with its name.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads a file, and holds the limit on its size even when the reader does not.
    pub(crate) fn read(files: &dyn Files, file: &str) -> Result<Self, ReadError> {
        let text = files.read(file)?;
        if text.len() > FILE_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        Ok(Self {
            file: file.to_owned(),
            text,
        })
    }

    /// Line and column (both from 1, columns in characters) of a byte offset. Offsets behind the end mean the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..self.floor(offset)).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    pub(crate) fn diagnostic(
        &self,
        code: Code,
        span: &Range<usize>,
        message: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Diagnostic {
        let (line, column) = self.position(span.start);
        let text = self.text.split('\n').nth(line - 1).unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let start = self.floor(span.start);
        let end = self.floor(span.end.max(start));
        let marked = self.text.get(start..end).unwrap_or_default();
        let marked = marked.split('\n').next().unwrap_or_default();
        // Of a very long line only what stands around the place.
        let skipped = (column - 1).saturating_sub(LINE_BEFORE_MAX);
        let text: String = text.chars().skip(skipped).take(LINE_MAX).collect();
        let indent = column - 1 - skipped;
        let width = marked.trim_end().chars().count();
        Diagnostic {
            code,
            file: self.file.clone(),
            line,
            column,
            indent,
            width: width.clamp(1, LINE_MAX.saturating_sub(indent).max(1)),
            text,
            message: one_line(&message.into()),
            way_out: one_line(&way_out.into()),
        }
    }

    /// The nearest boundary of a character at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// Messages may quote what stands in a file: without control characters, so that they stay on their line.
fn one_line(text: &str) -> String {
    let clean = |c| if c == '\n' { ' ' } else { visible(c) };
    text.chars().map(clean).collect()
}

/// What a run has found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.found.len() < DIAGNOSTICS_MAX {
            self.found.push(diagnostic);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, file by file, from top to bottom.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        // One file may be named in several places; what is wrong with it is said once.
        self.found
            .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.found.dedup();
        // One file may be named in several places; what is wrong with it is said once.
        self.found
    }
}
