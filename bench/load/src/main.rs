//! `verve-load`: load for counting services on this machine, with every answer checked.
//!
//! One thread drives all connections. A closed loop asks how much a server can do; an open loop
//! asks how long an answer takes at a constant rate. It times an answer from the moment at which
//! its request was due, not from the moment at which it was sent, so a server that stalls cannot
//! hide it.

mod clock;
mod histogram;
mod idle;
mod ids;
mod judge;
mod options;
mod records;
mod request;
mod response;
mod run;
mod schedule;
mod tally;
mod target;
mod ticker;
#[cfg(test)]
mod whole_runs;
mod wire;
mod worker;
mod zipf;

use std::process::ExitCode;

use options::Options;
use run::Outcome;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|text| text == "--help" || text == "-h") {
        print!("{}", options::HELP);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(message) => return fail(&message, 2),
    };
    let fail_on_error = options.fail_on_error;
    match run_alone(options) {
        Err(message) => fail(&message, 1),
        Ok(outcome) => {
            println!("{}", outcome.report);
            if outcome.gave_up || (fail_on_error && !outcome.clean) {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

fn run_alone(options: Options) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: `{error}`"))?;
    tokio::task::LocalSet::new().block_on(&runtime, run::drive(options))
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(code)
}
