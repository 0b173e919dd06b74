//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::prelude::*;

use crate::ids::Stream;
use crate::request::Encoding;
use crate::target;

pub const HELP: &str = "\
Sends ids to a counting service on this machine, checks every answer, and prints one JSON object.

usage: verve-load TARGET [options]          TARGET: 127.0.0.1:8000, [::1]:8000

amount (closed loop, unless --rate; until a signal, unless one of the first two is given)
  --requests N            stop after N requests (batches, with --batch)
  --duration S            stop after S seconds
  --connections N         keep-alive connections [32]
  --idle N                more connections, which stay open and send nothing [0]
  --depth N               requests in flight on each connection [1]
  --rate R                open loop: R requests per second, timed from their intended start
  --around-boundary MS    send only within MS milliseconds of each window boundary
  --boundaries N          ... at N boundaries [10]
ids
  --ids STREAM            distinct, duplicates[:N], mixed:90/10[:N] (90 of a fixed set of N, 10 new),
                          uniform:N, zipf:N:S, same:N (all connections alike) [distinct]
  --base ID               the first id [1]
  --seed N                seed of the random streams [1]
requests and answers
  --path P                path of the URL [/api/verve/accept]
  --query Q               query; {id} stands for the id [id={id}]
  --verdict               ask for and check verve-seen and verve-window
  --endpoint URL          name a callback URL in each request
  --header 'NAME: VALUE'  add a header; may repeat
  --expect BODY           body of each answer [ok]
  --batch KIND            POST batches instead: binary, json or text
  --batch-size K          ids in a batch [1000]
time
  --window S              length of the service's window [60]
  --near MS               distance that is near a boundary, in the latencies [250]
  --timeout S             limit for one answer [10]
  --wait S                limit for the first connection [5]
  --give-up S             limit without a connection, once started [30]
result
  --out FILE              write a record of every id (read it with tests/support/records.py)
  --histogram             add the latency buckets to the result
  --fail-on-error         exit with 1 after any error or unexpected answer
  --quiet                 no progress on stderr
";

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends as soon as it has its answers.
    Closed,
    /// Requests per second, independent of the answers.
    Rate(f64),
    /// A closed loop, but only within `half` of each of `boundaries` window boundaries.
    Around { half: Duration, boundaries: u64 },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub encoding: Encoding,
    pub size: usize,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    pub target: SocketAddr,
    pub connections: u32,
    pub idle: u32,
    pub depth: usize,
    pub pace: Pace,
    pub requests: Option<u64>,
    pub duration: Option<Duration>,
    pub stream: Stream,
    pub base: i64,
    pub seed: u64,
    pub path: String,
    pub query: String,
    pub endpoint: Option<String>,
    pub headers: Vec<String>,
    pub verdict: bool,
    pub expect: Vec<u8>,
    pub batch: Option<Batch>,
    pub window: Duration,
    pub near: Duration,
    pub timeout: Duration,
    pub wait: Duration,
    pub give_up: Duration,
    pub out: Option<PathBuf>,
    pub histogram: bool,
    pub fail_on_error: bool,
    pub quiet: bool,
}

impl Options {
    /// Reads the arguments after the program's name; the error is the message to print.
    pub fn parse<A: Into<OsString>>(
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, String> {
        let mut parser = lexopt::Parser::from_args(arguments.into_iter().map(Into::into));
        let mut target = None;
        let mut options = Self::defaults();
        let (mut rate, mut around, mut boundaries) = (None, None, None);
        let (mut encoding, mut batch_size) = (None, 1_000);
        while let Some(argument) = parser.next().map_err(describe)? {
            let Long(name) = argument else {
                let Value(text) = argument else {
                    return Err(describe(argument.unexpected()));
                };
                let address = target::parse(&text.to_string_lossy())?;
                if target.replace(address).is_some() {
                    return Err(format!("there is more than one target: `{address}`"));
                }
                continue;
            };
            let name = name.to_owned();
            let mut value = Values { parser: &mut parser, name: &name };
            match name.as_str() {
                "requests" => options.requests = Some(value.number(1..=u64::MAX)?),
                "duration" => options.duration = Some(value.seconds()?),
                "connections" => options.connections = value.number(1..=20_000)? as u32,
                "idle" => options.idle = value.number(0..=20_000)? as u32,
                "depth" => options.depth = value.number(1..=1_024)? as usize,
                "rate" => rate = Some(value.parsed::<f64>()?),
                "around-boundary" => {
                    around = Some(Duration::from_millis(value.number(1..=60_000)?));
                }
                "boundaries" => boundaries = Some(value.number(1..=u64::MAX)?),
                "ids" => options.stream = value.text()?.parse()?,
                "base" => options.base = value.parsed()?,
                "seed" => options.seed = value.parsed()?,
                "path" => options.path = value.text()?,
                "query" => options.query = value.text()?,
                "verdict" => options.verdict = true,
                "endpoint" => options.endpoint = Some(value.text()?),
                "header" => options.headers.push(value.text()?),
                "expect" => options.expect = value.text()?.into_bytes(),
                "batch" => encoding = Some(value.encoding()?),
                "batch-size" => batch_size = value.number(1..=16_000_000)? as usize,
                "window" => options.window = Duration::from_secs(value.number(1..=86_400)?),
                "near" => options.near = Duration::from_millis(value.number(0..=60_000)?),
                "timeout" => options.timeout = value.seconds()?,
                "wait" => options.wait = value.seconds()?,
                "give-up" => options.give_up = value.seconds()?,
                "out" => options.out = Some(value.text()?.into()),
                "histogram" => options.histogram = true,
                "fail-on-error" => options.fail_on_error = true,
                "quiet" => options.quiet = true,
                _ => return Err(format!("no such option: `--{name}`\nhint: see --help")),
            }
        }
        options.target = target.ok_or("there is no target\nhint: verve-load 127.0.0.1:8000")?;
        options.batch = encoding.map(|encoding| Batch { encoding, size: batch_size });
        options.pace = pace(rate, around, boundaries)?;
        options.check()?;
        Ok(options)
    }

    fn defaults() -> Self {
        Self {
            target: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections: 32,
            idle: 0,
            depth: 1,
            pace: Pace::Closed,
            requests: None,
            duration: None,
            stream: Stream::Distinct,
            base: 1,
            seed: 1,
            path: "/api/verve/accept".into(),
            query: "id={id}".into(),
            endpoint: None,
            headers: Vec::new(),
            verdict: false,
            expect: b"ok".to_vec(),
            batch: None,
            window: Duration::from_secs(60),
            near: Duration::from_millis(250),
            timeout: Duration::from_secs(10),
            wait: Duration::from_secs(5),
            give_up: Duration::from_secs(30),
            out: None,
            histogram: false,
            fail_on_error: false,
            quiet: false,
        }
    }

    fn check(&self) -> Result<(), String> {
        if !self.path.starts_with('/') {
            return Err(format!("the path does not start with a slash: `{}`", self.path));
        }
        if self.query.matches("{id}").count() != 1 {
            return Err(format!(
                "the query has no single place for the id: `{}`\nhint: write {{id}} where it goes",
                self.query
            ));
        }
        if let Pace::Rate(rate) = self.pace {
            if !(0.1..=10_000_000.0).contains(&rate) {
                return Err(format!("the rate is out of range: `{rate}`\nhint: 0.1 to 10000000"));
            }
            if self.depth > 1 {
                return Err("an open loop has a depth of 1\nhint: leave out --depth".into());
            }
        }
        if self.batch.is_some() && (self.verdict || self.endpoint.is_some()) {
            return Err("a batch has neither verdict nor endpoint\nhint: leave out --batch".into());
        }
        Ok(())
    }
}

fn pace(
    rate: Option<f64>,
    around: Option<Duration>,
    boundaries: Option<u64>,
) -> Result<Pace, String> {
    match (rate, around) {
        (Some(_), Some(_)) => Err("--rate and --around-boundary exclude each other".into()),
        (_, None) if boundaries.is_some() => {
            Err("--boundaries goes with --around-boundary\nhint: add --around-boundary 50".into())
        }
        (Some(rate), None) => Ok(Pace::Rate(rate)),
        (None, Some(half)) => Ok(Pace::Around { half, boundaries: boundaries.unwrap_or(10) }),
        (None, None) => Ok(Pace::Closed),
    }
}

/// Takes the value of the option `name` in the form that it has.
struct Values<'a> {
    parser: &'a mut lexopt::Parser,
    name: &'a str,
}

impl Values<'_> {
    fn text(&mut self) -> Result<String, String> {
        let text = self.parser.value().map_err(describe)?;
        text.into_string().map_err(|raw| self.refuse(&raw.to_string_lossy()))
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T, String> {
        let text = self.text()?;
        text.parse().map_err(|_| self.refuse(&text))
    }

    fn number(&mut self, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
        let number = self.parsed()?;
        if range.contains(&number) { Ok(number) } else { Err(self.refuse(&number.to_string())) }
    }

    fn seconds(&mut self) -> Result<Duration, String> {
        let text = self.text()?;
        let seconds = text.parse().ok().filter(|s: &f64| *s > 0.0);
        seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).ok_or_else(|| self.refuse(&text))
    }

    fn encoding(&mut self) -> Result<Encoding, String> {
        match self.text()?.as_str() {
            "binary" => Ok(Encoding::Binary),
            "json" => Ok(Encoding::Json),
            "text" => Ok(Encoding::Text),
            other => Err(self.refuse(other)),
        }
    }

    fn refuse(&self, value: &str) -> String {
        format!("--{} cannot be this: `{value}`\nhint: see --help", self.name)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn describe(error: lexopt::Error) -> String {
    format!("{error}\nhint: see --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        Options::parse(arguments).unwrap_err()
    }

    #[test]
    fn what_is_given_is_taken() {
        let options = Options::parse([
            "--rate",
            "10000",
            "--duration=2.5",
            "127.0.0.1:9",
            "--ids",
            "zipf:10:1.1",
            "--base",
            "-4",
            "--idle",
            "9900",
        ])
        .unwrap();
        assert_eq!(options.pace, Pace::Rate(10_000.0));
        assert_eq!(options.duration, Some(Duration::from_millis(2_500)));
        assert_eq!(options.stream, Stream::Zipf { size: 10, exponent: 1.1 });
        assert_eq!(options.base, -4);
        assert_eq!((options.connections, options.idle), (32, 9_900));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let target = "127.0.0.1:9";
        for arguments in [
            vec![],
            vec!["10.0.0.1:9"],
            vec![target, target],
            vec![target, "--nonsense"],
            vec![target, "-x"],
            vec![target, "--connections", "0"],
            vec![target, "--duration", "-1"],
            vec![target, "--rate", "10", "--depth", "2"],
            vec![target, "--rate", "nan"],
            vec![target, "--rate", "10", "--around-boundary", "50"],
            vec![target, "--boundaries", "5"],
            vec![target, "--query", "id="],
            vec![target, "--path", "x"],
            vec![target, "--batch", "xml"],
            vec![target, "--batch", "json", "--verdict"],
        ] {
            assert!(!refusal(&arguments).is_empty(), "{arguments:?}");
        }
    }
}
