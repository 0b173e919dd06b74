//! Sends accepts that name an endpoint at a constant rate, is the endpoint, and checks every callback:
//! that it came, and that its count is one that its window had between request and delivery.
//!
//! usage: storm TARGET RATE SECONDS [--plain] [--connections N] [--drain S] [--first ID]
//!        storm receive
//!
//! `receive` is a receiver alone: it prints its port, takes posts until its input ends, and prints how
//! many came. `--plain` names no endpoint. Prints one JSON object; all times are in milliseconds, latencies from
//! the intended start of a request.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{sleep, sleep_until};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Clone, Debug)]
struct Options {
    target: SocketAddr,
    rate: f64,
    seconds: f64,
    endpoint: bool,
    connections: usize,
    drain: f64,
    first: i64,
}

/// An accept that was answered `ok`.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    window: u64,
    sent: Duration,
    answered: Duration,
}

/// A callback that was received.
#[derive(Clone, Copy, Debug)]
struct Received {
    id: i64,
    count: u64,
    at: Duration,
}

#[derive(Debug, Default)]
struct Sent {
    accepted: HashMap<i64, Accepted>,
    /// Answers that were no `ok`, by status and reason.
    others: BTreeMap<String, u64>,
    latencies: Vec<Duration>,
}

fn options() -> Result<Options, Failure> {
    let mut plain = Vec::new();
    let mut options = Options {
        target: SocketAddr::from(([127, 0, 0, 1], 8000)),
        rate: 0.0,
        seconds: 0.0,
        endpoint: true,
        connections: 64,
        drain: 30.0,
        first: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--plain" => options.endpoint = false,
            "--connections" => options.connections = value()?.parse()?,
            "--drain" => options.drain = value()?.parse()?,
            "--first" => options.first = value()?.parse()?,
            _ => plain.push(argument),
        }
    }
    let [target, rate, seconds] = plain.as_slice() else {
        return Err("usage: storm TARGET RATE SECONDS [options]".into());
    };
    options.target = target.parse()?;
    options.rate = rate.parse()?;
    options.seconds = seconds.parse()?;
    Ok(options)
}

/// Reads one HTTP message: its head, and its body by Content-Length.
async fn message(stream: &mut TcpStream, kept: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = kept.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&kept[..end]).into_owned();
            let length: usize = header(&head, "content-length")?.parse().ok()?;
            if kept.len() >= end + 4 + length {
                let body = kept[end + 4..end + 4 + length].to_vec();
                kept.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(kept).await.ok()? == 0 {
            return None;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The receiver: answers each callback at once, and keeps what it said.
async fn receive(listener: TcpListener, began: Instant, all: Arc<Mutex<Vec<Received>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let all = all.clone();
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(async move {
            let mut kept = Vec::new();
            while let Some((head, body)) = message(&mut stream, &mut kept).await {
                let id =
                    head.split(' ').nth(1).and_then(|path| path.rsplit('/').next()?.parse().ok());
                let body = String::from_utf8_lossy(&body);
                let count = body
                    .strip_prefix("{\"unique_request_count\": ")
                    .and_then(|rest| rest.strip_suffix('}')?.parse().ok());
                let at = began.elapsed();
                if let (Some(id), Some(count), Ok(mut all)) = (id, count, all.lock()) {
                    all.push(Received { id, count, at });
                }
                let answer = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// One connection of the sender.
async fn send(
    options: Rc<Options>,
    number: usize,
    port: u16,
    began: Instant,
    sent: Rc<RefCell<Sent>>,
) {
    let gap = options.connections as f64 / options.rate;
    let offset = gap * number as f64 / options.connections as f64;
    let mut stream: Option<TcpStream> = None;
    let mut kept = Vec::new();
    for turn in 0.. {
        let intended = offset + gap * f64::from(turn);
        if intended >= options.seconds {
            return;
        }
        let intended = Duration::from_secs_f64(intended);
        sleep_until((began + intended).into()).await;
        let index = i64::from(turn) * options.connections as i64 + number as i64;
        let id = options.first + index;
        let endpoint = if options.endpoint {
            format!("&endpoint=http%3A%2F%2F127.0.0.1%3A{port}%2Fhook%2F{id}")
        } else {
            String::new()
        };
        let request = format!(
            "GET /api/verve/accept?id={id}&verdict=1{endpoint} HTTP/1.1\r\nhost: {}\r\n\r\n",
            options.target
        );
        let start = began.elapsed();
        if stream.is_none() {
            kept.clear();
            stream = TcpStream::connect(options.target).await.ok();
        }
        let answer = match &mut stream {
            Some(open) => match open.write_all(request.as_bytes()).await {
                Ok(()) => message(open, &mut kept).await,
                Err(_) => None,
            },
            None => None,
        };
        let answered = began.elapsed();
        let mut sent = sent.borrow_mut();
        let Some((head, body)) = answer else {
            stream = None;
            *sent.others.entry("connection".into()).or_default() += 1;
            continue;
        };
        sent.latencies.push(answered.saturating_sub(intended));
        let window = header(&head, "verve-window").and_then(|window| window.parse().ok());
        if let (b"ok", Some(window)) = (body.as_slice(), window) {
            sent.accepted.insert(id, Accepted { window, sent: start, answered });
        } else {
            let status = head.split(' ').nth(1).unwrap_or_default();
            let reason = header(&head, "verve-error").unwrap_or_default();
            *sent.others.entry(format!("{status} {reason}")).or_default() += 1;
        }
    }
}

fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |one| one.as_secs_f64() * 1e3)
}

/// Callbacks whose count their window did not have while they were under way.
///
/// Of `unsure` requests it is not known whether their ids were counted.
fn wrong(accepted: &HashMap<i64, Accepted>, received: &[Received], unsure: u64) -> usize {
    let mut answered: HashMap<u64, Vec<Duration>> = HashMap::new();
    let mut begun: HashMap<u64, Vec<Duration>> = HashMap::new();
    for one in accepted.values() {
        answered.entry(one.window).or_default().push(one.answered);
        begun.entry(one.window).or_default().push(one.sent);
    }
    answered.values_mut().chain(begun.values_mut()).for_each(|times| times.sort_unstable());
    let is_wrong = |one: &&Received| {
        let Some(its) = accepted.get(&one.id) else { return true };
        let least = answered[&its.window].partition_point(|&at| at < its.sent) as u64 + 1;
        let most = begun[&its.window].partition_point(|&at| at <= one.at) as u64 + unsure;
        !(least..=most).contains(&one.count)
    };
    received.iter().filter(is_wrong).count()
}

fn main() -> Result<(), Failure> {
    let alone = std::env::args().nth(1).is_some_and(|argument| argument == "receive");
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let began = Instant::now() + Duration::from_millis(100);
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = received.clone();
    std::thread::spawn(move || -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            receive(TcpListener::from_std(listener)?, began, kept).await;
            Ok(())
        })
    });
    if alone {
        println!("{port}");
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        println!("{}", received.lock().map_err(|_| "the receiver failed")?.len());
        return Ok(());
    }
    let options = options()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = Rc::new(RefCell::new(Sent::default()));
    let shared = Rc::new(options.clone());
    LocalSet::new().block_on(&runtime, async {
        let tasks: Vec<_> = (0..options.connections)
            .map(|number| {
                tokio::task::spawn_local(send(shared.clone(), number, port, began, sent.clone()))
            })
            .collect();
        for task in tasks {
            let _ = task.await;
        }
        let wanted = if options.endpoint { sent.borrow().accepted.len() } else { 0 };
        let deadline = Instant::now() + Duration::from_secs_f64(options.drain);
        while received.lock().is_ok_and(|all| all.len() < wanted) && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        // One that comes twice comes a moment later.
        sleep(Duration::from_millis(200)).await;
    });
    let received = received.lock().map_err(|_| "the receiver failed")?.clone();
    let mut sent = sent.borrow_mut();
    sent.latencies.sort_unstable();
    let mut first: HashMap<i64, Duration> = HashMap::new();
    for one in &received {
        first.entry(one.id).or_insert(one.at);
    }
    let missing = sent.accepted.keys().filter(|id| !first.contains_key(id)).count();
    let mut delays: Vec<_> = first
        .iter()
        .filter_map(|(id, at)| Some(at.saturating_sub(sent.accepted.get(id)?.sent)))
        .collect();
    delays.sort_unstable();
    let others: Vec<_> = sent.others.iter().map(|(name, n)| format!("\"{name}\": {n}")).collect();
    println!(
        "{{\"accepted\": {}, \"others\": {{{}}}, \"received\": {}, \"distinct\": {}, \
         \"missing\": {missing}, \"wrong\": {}, \"accept_p50\": {:.3}, \"accept_p99\": {:.3}, \
         \"delay_p50\": {:.3}, \"delay_p99\": {:.3}, \"delay_max\": {:.3}}}",
        sent.accepted.len(),
        others.join(", "),
        received.len(),
        first.len(),
        wrong(&sent.accepted, &received, sent.others.values().sum()),
        percentile(&sent.latencies, 0.5),
        percentile(&sent.latencies, 0.99),
        percentile(&delays, 0.5),
        percentile(&delays, 0.99),
        percentile(&delays, 1.0),
    );
    Ok(())
}
