//! Judges an answer: counted, rejected, or wrong.

use serde_json::Value;

use crate::options::Options;
use crate::response::{Head, Seen};
use crate::wire::Fault;

/// The outcome of one request.
#[derive(Debug, PartialEq)]
pub enum Judgement {
    /// Answered as expected; `verdict` if the answer named it.
    Accepted { verdict: Option<(i64, Seen)> },
    /// A batch was accepted: (start, new ids) of each window that it went to.
    Batch { windows: Vec<(i64, u64)> },
    /// Answered with another status than 200.
    Refused,
    /// Answered with 200, but not as the contract says.
    Wrong(Fault),
}

pub fn judge(options: &Options, head: &Head, body: &[u8]) -> Judgement {
    if head.status != 200 {
        return Judgement::Refused;
    }
    if let Some(batch) = &options.batch {
        return match windows_of(body, batch.size as u64) {
            Some(windows) => Judgement::Batch { windows },
            None => Judgement::Wrong(Fault::Body),
        };
    }
    if body != options.expect {
        return Judgement::Wrong(Fault::Body);
    }
    if !options.verdict {
        return Judgement::Accepted { verdict: None };
    }
    match (head.window, head.seen) {
        (Some(window), Some(seen)) if window % options.window.as_secs() as i64 == 0 => {
            Judgement::Accepted { verdict: Some((window, seen)) }
        }
        _ => Judgement::Wrong(Fault::Verdict),
    }
}

/// The windows of `{"accepted": n, "new": k, "windows": [{"window_start": "<RFC 3339>", "new": j}]}`,
/// when the whole batch was accepted and the parts add up.
fn windows_of(body: &[u8], size: u64) -> Option<Vec<(i64, u64)>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let windows: Option<Vec<(i64, u64)>> = answer["windows"]
        .as_array()?
        .iter()
        .map(|window| Some((seconds(window["window_start"].as_str()?)?, window["new"].as_u64()?)))
        .collect();
    let windows = windows?;
    let new: u64 = windows.iter().map(|window| window.1).sum();
    let adds_up = answer["accepted"].as_u64()? == size
        && answer["new"].as_u64()? == new
        && new <= size
        && !windows.is_empty();
    adds_up.then_some(windows)
}

/// Seconds since the epoch of a time such as `2026-11-22T21:58:00Z`.
fn seconds(time: &str) -> Option<i64> {
    let form = "dddd-dd-ddTdd:dd:ddZ";
    let fits = |(mark, char): (char, char)| {
        if mark == 'd' { char.is_ascii_digit() } else { mark == char }
    };
    if time.len() != form.len() || !form.chars().zip(time.chars()).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| time[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Years that begin in March end with the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let minutes = (days - 719_468) * 1_440 + number(11, 13)? * 60 + number(14, 16)?;
    Some(minutes * 60 + number(17, 19)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &[&str]) -> Options {
        let start = ["127.0.0.1:80", "--window", "2"];
        Options::parse(start.iter().chain(more)).unwrap()
    }

    fn head(status: u16, seen: Option<Seen>, window: Option<i64>) -> Head {
        Head { status, body_start: 0, length: 0, close: false, seen, window }
    }

    #[test]
    fn accepts() {
        let plain = options(&[]);
        let accepted = Judgement::Accepted { verdict: None };
        assert_eq!(judge(&plain, &head(200, None, None), b"ok"), accepted);
        let wrong = Judgement::Wrong(Fault::Body);
        assert_eq!(judge(&plain, &head(200, None, None), b"OK"), wrong);
        let refused = judge(&plain, &head(503, None, None), b"failed");
        assert_eq!(refused, Judgement::Refused);
    }

    #[test]
    fn verdicts() {
        let options = options(&["--verdict"]);
        let new = Some(Seen::New);
        let verdict = Some((8, Seen::New));
        let good = judge(&options, &head(200, new, Some(8)), b"ok");
        assert_eq!(good, Judgement::Accepted { verdict });
        for (seen, window) in [(new, Some(9)), (new, None), (None, Some(8))] {
            let judgement = judge(&options, &head(200, seen, window), b"ok");
            assert_eq!(judgement, Judgement::Wrong(Fault::Verdict));
        }
    }

    #[test]
    fn batches() {
        let options = options(&["--batch", "json", "--batch-size", "3"]);
        let judge = |body: &str| judge(&options, &head(200, None, None), body.as_bytes());
        let part = r#""windows": [{"window_start": "1970-01-01T00:00:08Z", "new": 1},
            {"window_start": "2026-11-22T21:58:00Z", "new": 1}]"#;
        assert_eq!(
            judge(&format!(r#"{{"accepted": 3, "new": 2, {part}}}"#)),
            Judgement::Batch { windows: vec![(8, 1), (1_795_384_680, 1)] }
        );
        for wrong in [
            format!(r#"{{"accepted": 2, "new": 2, {part}}}"#),
            format!(r#"{{"accepted": 3, "new": 3, {part}}}"#),
            r#"{"accepted": 3, "new": 0, "windows": []}"#.into(),
            r#"{"accepted": 3, "new": 1, "windows": [{"window_start": 8, "new": 1}]}"#.into(),
            "ok".into(),
        ] {
            assert_eq!(judge(&wrong), Judgement::Wrong(Fault::Body), "{wrong}");
        }
    }
}
