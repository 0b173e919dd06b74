//! The file of every id that was sent and its outcome, 32 bytes each, little-endian.
//!
//! `tests/support/records.py` reads it; the two change together.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::clock::Clock;
use crate::response::Seen;

const MAGIC: &[u8; 8] = b"VRVLOAD\x01";
const SIZE: u32 = 32;

/// The outcome of an id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Acknowledged, and the answer named the window.
    Placed = 1,
    /// Acknowledged. The window is a guess by the sender's own clock when it sent the id; for a
    /// batch over several windows it is the first that was named.
    Acknowledged = 2,
    /// Sent without a valid answer: counted or not. The window is as above.
    Sent = 3,
    /// Answered with an error status: not counted.
    Refused = 4,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    pub id: i64,
    /// Start of the window, seconds since the epoch.
    pub window: i64,
    /// When it was sent, nanoseconds since the start of the run.
    pub sent: u64,
    /// From sending to the answer, or to giving up, in nanoseconds.
    pub took: u64,
    pub connection: u32,
    /// 0 without an answer.
    pub status: u16,
    pub kind: Kind,
    pub seen: Option<Seen>,
}

impl Record {
    fn bytes(&self) -> [u8; SIZE as usize] {
        let mut bytes = [0; SIZE as usize];
        let micro = u32::try_from(self.took / 1_000).unwrap_or(u32::MAX);
        bytes[0..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.window.to_le_bytes());
        bytes[16..20].copy_from_slice(&((self.sent / 1_000_000) as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&micro.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.connection.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.status.to_le_bytes());
        bytes[30] = self.kind as u8;
        bytes[31] = match self.seen {
            Some(Seen::New) => 1,
            Some(Seen::Duplicate) => 0,
            None => u8::MAX,
        };
        bytes
    }
}

/// Writes records to a file, or nowhere.
pub struct Records {
    file: Option<BufWriter<File>>,
    error: Option<io::Error>,
}

impl Records {
    pub fn create(path: Option<&Path>, clock: &Clock, window_seconds: u64) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { file: None, error: None });
        };
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(MAGIC)?;
        file.write_all(&SIZE.to_le_bytes())?;
        file.write_all(&(window_seconds as u32).to_le_bytes())?;
        file.write_all(&clock.wall_at_start().to_le_bytes())?;
        file.write_all(&[0; 8])?;
        Ok(Self { file: Some(file), error: None })
    }

    pub fn wanted(&self) -> bool {
        self.file.is_some()
    }

    pub fn write(&mut self, record: &Record) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&record.bytes())
        {
            // The first error is reported at the end; the rest of the file would be worthless.
            self.error = Some(error);
            self.file = None;
        }
    }

    pub fn finish(mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.file.map_or(Ok(()), |mut file| file.flush()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_its_fields_where_the_reader_looks() {
        let record = Record {
            id: -2,
            window: 1_700_000_040,
            sent: 7_000_000,
            took: 5_000,
            connection: 3,
            status: 200,
            kind: Kind::Placed,
            seen: Some(Seen::New),
        };
        let bytes = record.bytes();
        assert_eq!(i64::from_le_bytes(bytes[0..8].try_into().unwrap()), -2);
        assert_eq!(i64::from_le_bytes(bytes[8..16].try_into().unwrap()), 1_700_000_040);
        assert_eq!(bytes[16..28], [7, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(bytes[28..32], [200, 0, 1, 1]);
    }
}
